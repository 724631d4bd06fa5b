"""Which fields go with which engine, and what each engine can do of the evictions."""

from __future__ import annotations

from typing import get_args

import pytest
from samples import faults, loaded, model

from llmux.server import config
from llmux.server._model import Eviction, Process, Weights
from llmux.server.config import _matrix
from llmux.server.config._engines import ABILITIES, FIELDS_OF, REQUIRED, EngineName

REMOTE = {"model_path": "gpt-x", "engine": "remote", "remote": {"url": "https://api.example.com/v1"}}


def told(**fields):
    return faults({"models": {"m": fields}})


def test_the_table_has_every_engine():
    assert set(ABILITIES) == set(get_args(EngineName))
    assert set(REQUIRED) <= set(ABILITIES)
    assert {name for names in FIELDS_OF.values() for name in names} <= set(ABILITIES)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (model(engine="remote"), "models.m: engine 'remote' needs \"remote\": where it is"),
        (model(remote={"url": "http://x"}), "\"remote\" is for engine 'remote' only, and this engine is 'vllm'"),
        (model(program="x"), "\"program\" is for engine 'sglang' and 'llama.cpp' only, and this engine is 'vllm'"),
        (model(calls={"health": "/x"}), "\"calls\" is for engine 'command' only"),
        (
            model(engine="llama.cpp", adapters={"a": "/a"}),
            "models.m: \"adapters\" are loaded by vLLM's calls, which llama.cpp does not have; leave them out",
        ),
        (REMOTE | {"port": 8001}, '"port" is about an engine that llmux runs, and \'remote\' is none; leave it out'),
        (REMOTE | {"eviction": {"process": "stop"}}, '"eviction" is about an engine that llmux runs'),
        ({"model_path": "x"}, "models.m.port: is required and missing"),
        ({"model_path": "x", "engine": "sglan"}, "did you mean 'sglang'?"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told(fields, expected):
    found = told(**fields)
    assert any(expected in fault for fault in found), found


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ({"health": "ready"}, "models.m.calls.health: 'ready' is no path of a URL"),
        ({"health": "//evil/x"}, "is no path of a URL"),
        ({"health": "/a b"}, "is no path of a URL"),
        ({"health": "/a#b"}, "is no path of a URL"),
        ({"sleep": {"path": "/nap"}}, "models.m.calls: has sleep and no wake"),
        ({"wake": {"path": "/rise"}}, "models.m.calls: has wake and no sleep"),
        ({"sleep": {"path": "/nap", "body": 3}, "wake": []}, "models.m.calls.sleep.0.body: should be"),
        ({"sleep": {"path": "/nap", "method": "BREW"}, "wake": []}, "is not one of 'GET'"),
        ({"sleep": {"pth": "/nap"}, "wake": []}, "models.m.calls.sleep.0.pth: unknown field; did you mean 'path'?"),
    ],
)  # fmt: skip
def test_calls_that_cannot_be_are_told(calls, expected):
    found = told(**model(engine="command", command=["x"], calls=calls))
    assert any(expected in fault for fault in found), found


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ({"url": "api.example.com"}, "models.m.remote.url: is no URL of http or https; say where the upstream's"),
        ({"url": "ftp://x"}, "is no URL of http or https"),
        ({"url": "https://"}, "is no URL of http or https"),
        ({"url": "https://x:99999"}, "is no URL (Port out of range"),
        ({"url": "https://key@x"}, "has a name or a password in it"),
        ({"url": "https://x/v1?key=1"}, "has a query or a fragment"),
        ({"url": "https://x", "api_key_env": "A", "api_key_file": "/a"}, "say the same thing twice"),
        ({"url": "https://x", "api_key_file": "a"}, "models.m.remote.api_key_file: must be an absolute path"),
        ({"url": "http://x", "ca_file": "/a"}, "models.m.remote: ca_file is for a URL of https"),
        ({"url": "https://x", "api_key": "sk"}, "unknown field"),
    ],
)  # fmt: skip
def test_a_remote_that_cannot_be_is_told(remote, expected):
    found = told(**REMOTE | {"remote": remote})
    assert any(expected in fault for fault in found), found


def test_a_remote_model_needs_no_port_and_sleeps_never():
    found = loaded(models={"m": REMOTE, "n": REMOTE | {"remote": {"url": "http://10.0.0.7:3000/"}}})
    assert found.models["n"].remote.url == "http://10.0.0.7:3000"
    assert found.models["m"].replica_ports() == (0,)
    assert config.eviction_faults(found) == ()


def test_one_call_stands_for_the_list_of_it():
    calls = {"sleep": {"path": "/nap"}, "wake": [{"path": "/rise", "body": {"a": [1, {"b": None}]}}]}
    found = loaded(models={"m": model(engine="command", command=["x"], calls=calls)}).models["m"].calls
    assert [each.path for each in found.sleep] == ["/nap"]
    assert found.wake[0].body == {"a": [1, {"b": None}]}
    assert found.health == "/health"


EVICTIONS = {
    "vllm": {"retain", "offload", "discard"},
    "tiny": {"retain", "offload", "discard"},
    "sglang": {"retain", "discard"},
    "llama.cpp": {"retain"},
    "command": {"retain", "offload", "discard"},
    "remote": set(),
}


@pytest.mark.parametrize("engine", get_args(EngineName))
@pytest.mark.parametrize("process", [Process.KEEP_RUNNING, Process.CHECKPOINT, Process.CUDA_SUSPEND])
def test_what_each_engine_does_with_its_weights(engine, process):
    able = {each for each in Weights if not _matrix.unable(Eviction(each, process), engine)}
    assert able == EVICTIONS[engine]


def test_every_engine_that_runs_here_can_be_stopped():
    stop = Eviction(Weights.DISCARD, Process.STOP)
    assert {engine for engine in ABILITIES if _matrix.unable(stop, engine)} == {"remote"}


def test_sglang_offloads_with_its_option_alone():
    offload = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
    assert _matrix.unable(offload, "sglang", ("--enable-weights-cpu-backup",)) == ""
    assert _matrix.unable(offload, "sglang") == (
        "SGLang can offload its weights with --enable-weights-cpu-backup in extra_args only; add it, "
        "or use weights 'retain' or 'discard'"
    )


def test_what_holds_for_all_is_fitted_to_an_engine_and_what_a_model_says_is_not():
    found = loaded(
        models={
            "plain": model(engine="llama.cpp"),
            "stopped": model(port=8002, engine="llama.cpp", eviction={"process": "stop"}),
            "wrong": model(port=8003, engine="llama.cpp", eviction={"weights": "discard"}),
        },
        policy={"eviction": {"weights": "discard", "process": "keep_running"}},
    )
    assert found.models["plain"].eviction.weights == "retain"
    assert found.models["stopped"].eviction.weights == "discard"
    (fault,) = config.eviction_faults(found)
    assert fault == (
        "models.wrong.eviction: llama.cpp has no call to discard its weights; use weights 'retain', or process 'stop'"
    )
