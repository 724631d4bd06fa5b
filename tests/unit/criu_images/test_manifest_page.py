"""docs/manifest.md names each field that a manifest has."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from llmux.criu_images import manifest

PAGE = Path(__file__).resolve().parents[3] / "docs/manifest.md"
MODELS = [kind for _, kind in inspect.getmembers(manifest, inspect.isclass) if issubclass(kind, BaseModel)]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_each_field_is_there(model):
    page = PAGE.read_text()
    assert [name for name in model.model_fields if not re.search(rf"\b{name}\b", page)] == []
