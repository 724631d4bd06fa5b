"""What the library exports."""

from __future__ import annotations

import pytest

from llmux import criu_images
from llmux.criu_images import _wire, check_pycriu
from llmux.criu_images.errors import PycriuMissing


@pytest.mark.parametrize("name", criu_images.__all__)
def test_each_exported_name_is_there(name):
    assert getattr(criu_images, name) is not None


def test_no_other_name_is_made_up():
    with pytest.raises(AttributeError, match="no attribute 'resurrect'"):
        _ = criu_images.resurrect


def test_pycriu_can_be_asked_for(monkeypatch):
    check_pycriu()
    monkeypatch.setattr(_wire, "find_spec", lambda _: None)
    monkeypatch.setattr(_wire, "DEBIAN_PACKAGES", "/nowhere")
    _wire.load_schema.cache_clear()
    with pytest.raises(PycriuMissing, match="neither on Python's own path nor in /nowhere"):
        check_pycriu()
    _wire.load_schema.cache_clear()
