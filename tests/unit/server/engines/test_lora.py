"""What an engine's list of models says of adapters."""

from __future__ import annotations

import json

import pytest

from llmux.server.engines import _lora


def test_adapters_are_what_has_a_parent():
    cards = [
        {"id": "base", "object": "model", "root": "org/base", "parent": None, "max_model_len": 512},
        {"id": "keeper", "object": "model", "root": "/keeper", "parent": "base"},
        {"id": "rootless", "parent": "base"},
        {"id": "another", "object": "model"},
    ]
    body = json.dumps({"object": "list", "data": cards}).encode()
    assert _lora.adapters_in(body) == {"keeper": "/keeper", "rootless": ""}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"<html>", "Invalid JSON"),
        (b'{"data": [{"root": "/x"}]}', r"data\.0\.id: Field required"),
        (b"{}", "data"),
    ],
)
def test_what_is_no_list_of_models_is_told(body, fault):
    with pytest.raises(ValueError, match=fault):
        _lora.adapters_in(body)


def test_the_calls_carry_name_and_path():
    assert _lora.load_body("a", "/p") == {"lora_name": "a", "lora_path": "/p"}
    assert _lora.unload_body("a") == {"lora_name": "a"}
