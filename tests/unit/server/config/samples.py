"""Short configurations for tests."""

from __future__ import annotations

import json

import pytest

from llmux.server import config
from llmux.server.config import Config, ModelConfig
from llmux.server.errors import ConfigInvalid


def model(**fields):
    return {"model_path": "org/name", "port": 8001} | fields


def several(**models):
    """Return models with a port each, from 8001 on."""
    return {
        name: {"model_path": "org/name", "port": port} | fields
        for port, (name, fields) in enumerate(models.items(), start=8001)
    }


def loaded(**fields) -> Config:
    return config.parse(json.dumps({"models": {"m": model()}} | fields))


def one(**fields) -> ModelConfig:
    return loaded(models={"m": model(**fields)}).models["m"]


def faults(value) -> tuple[str, ...]:
    with pytest.raises(ConfigInvalid) as caught:
        config.parse(json.dumps(value))
    return caught.value.faults
