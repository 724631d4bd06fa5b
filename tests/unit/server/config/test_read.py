"""JSON to a configuration: what the README shows loads as it stands; each wrong file is refused with its places."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llmux.server import config
from llmux.server._model import Eviction, Process, Weights
from llmux.server.errors import ConfigInvalid, ConfigUnreadable

EXAMPLE = """{"models": {"qwen3-0.6b": {"model_path": "Qwen/Qwen3-0.6B", "port": 8001,
   "eviction": {"weights": "discard", "process": "checkpoint"},
   "checkpoint_path": "/tmp/llmux-checkpoints/qwen3-0.6b/images"}},
 "checkpoint": {"criu_path": "/usr/local/bin/criu", "cuda_plugin_dir": "/usr/lib/criu/", "images_dir": "/tmp/llmux-checkpoints",
   "cuda_checkpoint_path": "/usr/local/bin/cuda-checkpoint", "keep_images": true}, "port": 3000}"""


def model(**fields):
    return {"model_path": "org/name", "port": 8001} | fields


def faults(value) -> tuple[str, ...]:
    with pytest.raises(ConfigInvalid) as caught:
        config.parse(json.dumps(value))
    return caught.value.faults


def test_the_readmes_configuration_loads_as_it_stands():
    loaded = config.parse(EXAMPLE)
    qwen = loaded.models["qwen3-0.6b"]
    assert (loaded.port, qwen.port, qwen.model_path) == (3000, 8001, "Qwen/Qwen3-0.6B")
    assert qwen.eviction.eviction() == Eviction(Weights.DISCARD, Process.CHECKPOINT)
    assert qwen.checkpoint_path == Path("/tmp/llmux-checkpoints/qwen3-0.6b/images")
    assert loaded.checkpoint.criu_path == "/usr/local/bin/criu"
    assert loaded.checkpoint.keep_images


def test_what_is_left_out_has_a_default():
    loaded = config.parse(json.dumps({"models": {"m": model()}}))
    assert loaded.models["m"].engine == "vllm"
    assert loaded.models["m"].isolation.shm
    assert loaded.max_awake is None
    assert loaded.host == "0.0.0.0"


def test_it_cannot_be_changed():
    loaded = config.parse(EXAMPLE)
    with pytest.raises(ValidationError, match="frozen"):
        loaded.port = 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "models: is required and missing"),
        ({"models": {}}, "models: must not be empty"),
        ([], "should be an object"),
        ({"models": {"m": {"port": 8001}}}, "models.m.model_path: is required and missing"),
        ({"models": {"m": model(prot=1)}}, "models.m.prot: unknown field; did you mean 'port'?"),
        ({"models": {"m": model()}, "modles": 1}, "modles: unknown field; did you mean 'models'?"),
        (
            {"models": {"m": model()}, "min_awake": 60},
            "min_awake: unknown field; it belongs at models.NAME.min_awake",
        ),
        (
            {"models": {"m": model(process="stop")}},
            "models.m.process: unknown field; it belongs at models.m.eviction.process",
        ),
        (
            {"models": {"m": model(eviction={"proces": "stop"})}},
            "models.m.eviction.proces: unknown field; did you mean 'process'?",
        ),
        (
            {"models": {"m": model()}, "checkpoint": {"zzz": 1}},
            "checkpoint.zzz: unknown field; known here: criu_path, cuda_plugin_dir, cuda_checkpoint_path, images_dir, keep_images",
        ),
        (
            {"models": {"qwen3-0.6b": model(eviction={"process": "checkpiont"})}},
            (
                "models.qwen3-0.6b.eviction.process: \"checkpiont\" is not one of 'keep_running', 'checkpoint', 'stop' or "
                "'cuda_suspend'; did you mean 'checkpoint'?"
            ),
        ),
        ({"models": {"m": model(port="8001")}}, 'models.m.port: should be a valid integer, and is "8001"'),
        ({"models": {"m": model(port=True)}}, "models.m.port: should be a valid integer, and is true"),
        ({"models": {"m": model(port=0)}}, "models.m.port: should be greater than or equal to 1, and is 0"),
        ({"models": {"m": model(model_path="")}}, "models.m.model_path: should"),
        ({"models": {"m": model(extra_args=["a\0"])}}, "models.m.extra_args.0: holds a NUL"),
        (
            {"models": {"m": model(env={"A=B": "c"})}},
            "models.m.env.A=B: is no name of an environment variable",
        ),
        (
            {"models": {"m": model(timeouts={"start": 0})}},
            "models.m.timeouts.start: should be greater than 0",
        ),
        (
            {"models": {"m": model(checkpoint_path="images")}},
            "models.m.checkpoint_path: must be an absolute path",
        ),
        (
            {"models": {"m": model(checkpoint_path="/a/../b")}},
            "models.m.checkpoint_path: must be an absolute path",
        ),
        ({"models": {"../m": model()}}, "models.../m: a model's name is a directory's name too"),
        ({"models": {"..": model()}}, "models...: a model's name is a directory's name too"),
        ({"models": {".hidden": model()}}, "models..hidden: a model's name"),
        ({"models": {"a": model(), "b": model()}}, "models.b.port: 8001 is also the port of models.a"),
        ({"models": {"a": model(port=3000)}}, "models.a.port: 3000 is also the port of llmux itself (port)"),
        (
            {"models": {"m": model(eviction={"weights": "retain", "process": "stop"})}},
            "models.m.eviction: an engine that is stopped keeps no weights",
        ),
        ({"models": {"m": model(engine="command")}}, "models.m: engine 'command' needs \"command\""),
        ({"models": {"m": model(command=["x"])}}, "models.m: \"command\" is for engine 'command' only"),
        ({"models": {"m": model()}, "max_awake": 0}, "max_awake: should be greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_refused_with_the_path_to_its_field(value, expected):
    found = faults(value)
    assert any(expected in fault for fault in found), found


def test_all_faults_come_together():
    found = faults({"models": {"a": model(prot=1), "b": model(eviction={"weights": 3})}, "port": "x"})
    assert len(found) == 4
    assert "4 faults" in str(ConfigInvalid("f", found))


def test_a_field_given_twice_is_refused():
    text = '{"models": {"m": {"model_path": "a", "port": 8001, "port": 8002}}}'
    with pytest.raises(ConfigInvalid, match=r"models\.m\.port: is given twice"):
        config.parse(text)


@pytest.mark.parametrize("text", ["", "{", "{,}", '{"a": 1,}', "[" * 100_000])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(ConfigUnreadable, match="not JSON"):
        config.parse(text)


def test_where_there_is_none_the_one_that_lies_here_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigUnreadable, match="Give the file's path with --config"):
        config.load(config.HOME / "none.json")
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(
        ConfigUnreadable, match=r"No such file or directory\. config\.yaml is here: --config config\.yaml$"
    ):
        config.load(config.HOME / "none.json")
    with pytest.raises(ConfigUnreadable, match="Give the file's path with --config"):
        config.load(tmp_path / "none.json")


def test_where_there_is_one_beside_it_in_another_format_that_is_named(tmp_path):
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(
        ConfigUnreadable, match=f"{tmp_path}/config.toml is there: --config {tmp_path}/config.toml"
    ):
        config.load(tmp_path / "config.json")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigUnreadable, match=r"none\.json.*No such file"):
        config.load(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b'{"models": "\xff"}')
    with pytest.raises(ConfigUnreadable, match="not UTF-8"):
        config.load(tmp_path / "latin.json")


@settings(deadline=None)  # a busy machine is not a slow parser
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["models", "port", "m", "env", "eviction", "\0"]), inner, max_size=3
            )
        ),
    )
)
def test_any_json_is_a_configuration_or_is_refused_with_its_faults(value):
    with suppress(ConfigInvalid):
        assert config.parse(json.dumps(value)).models
