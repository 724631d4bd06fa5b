"""What a first configuration says of each machine; all of them are configurations."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count

import pytest

from llmux.server import config
from llmux.server._model_files import ModelFiles
from llmux.server._starter import Found, document

GIB = 1 << 30
QWEN = ModelFiles("Qwen/Qwen3-14B", 28 * GIB, "qwen3")
TINY = ModelFiles("/models/tiny", 1000, "llmux_tiny")
TWO_GPUS = {0: 24 * GIB, 1: 24 * GIB}


def made(*models, gpus=None, criu=False, amx=False):
    value = document(Found(models, gpus or {}, criu, amx), "127.0.0.1", count(4000))
    return value, config.parse(json.dumps(value))


def test_each_model_has_its_name_its_port_and_its_engine():
    told, found = made(QWEN, TINY)
    assert (told["host"], told["port"]) == (found.host, found.port) == ("127.0.0.1", 4000)
    assert {name: (each.model_path, each.port, each.engine) for name, each in found.models.items()} == {
        "qwen3-14b": ("Qwen/Qwen3-14B", 4001, "vllm"),
        "tiny": ("/models/tiny", 4002, "tiny"),
    }


def test_an_engine_is_told_of_the_cache_that_has_its_model():
    _, found = made(replace(TINY, source="org/Tiny", hub="/elsewhere/hub"), QWEN)
    assert (found.models["tiny"].model_path, found.models["tiny"].env) == (
        "org/Tiny",
        {"HF_HUB_CACHE": "/elsewhere/hub"},
    )
    assert found.models["qwen3-14b"].env == {}


def test_names_are_told_apart_and_fit():
    sources = ("a/Same", "b/same", "c/same", "d/Ünï cödé!", "e/" + "x" * 300, "f/---")
    _, found = made(*(ModelFiles(source, 1, "") for source in sources))
    assert list(found.models) == ["same", "same-2", "same-3", "n-c-d", "x" * 100, "model"]


@pytest.mark.parametrize(
    ("model", "machine", "sleep"),
    [
        (QWEN, {"criu": True}, ("discard", "checkpoint")),
        (QWEN, {}, ("discard", "stop")),
        (QWEN, {"gpus": TWO_GPUS}, ("offload", "keep_running")),
        (QWEN, {"gpus": TWO_GPUS, "criu": True}, ("offload", "keep_running")),
        (TINY, {"criu": True}, ("discard", "checkpoint")),
        (TINY, {}, ("discard", "keep_running")),
    ],
)
def test_it_sleeps_as_deep_as_works_there(model, machine, sleep):
    (found,) = made(model, **machine)[1].models.values()
    assert (found.eviction.weights, found.eviction.process) == sleep


@pytest.mark.parametrize(
    ("machine", "arguments"),
    [
        ({"gpus": TWO_GPUS}, ("--tensor-parallel-size", "2")),
        ({"gpus": {0: 80 * GIB, 1: 80 * GIB}}, ()),
        ({"gpus": {0: 24 * GIB}}, ()),
        ({"gpus": dict.fromkeys(range(3), 8 * GIB)}, ("--tensor-parallel-size", "2")),
        ({"amx": True}, ("--dtype", "float32")),
        ({"amx": True, "gpus": {0: 80 * GIB}}, ()),
        ({}, ()),
    ],
)
def test_an_engine_is_told_what_the_machine_asks_for(machine, arguments):
    (found,) = made(QWEN, **machine)[1].models.values()
    assert found.extra_args == arguments
