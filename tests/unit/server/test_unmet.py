"""What models need and do not find here: who needs it, and that there is nothing where nobody does."""

from __future__ import annotations

import json
import sys

import pytest

from llmux.server import _unmet, config
from llmux.server._effect_errors import CriuMissing

LACK = CriuMissing("criu", "there is no such program", hint="Install it")
STOP = {"process": "stop"}


def configured(*models, **fields):
    named = {
        f"m{number}": {"model_path": "x", "port": 8000 + number} | model
        for number, model in enumerate(models)
    }
    return config.parse(json.dumps({"models": named} | fields))


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (({},), "m0 sleeps on disk, and criu cannot be run: there is no such program"),
        (({}, {"eviction": STOP}, {}, {}), "m0, m2 and m3 sleep on disk, and criu cannot be run"),
    ],
)
def test_those_are_named_that_sleep_on_disk(models, said):
    unmet = _unmet.without_criu(configured(*models), LACK)
    assert unmet.what.startswith(said)
    assert str(unmet).endswith(". Install it")


def test_nobody_misses_criu_who_does_not_sleep_on_disk_or_where_it_is():
    assert _unmet.without_criu(configured({"eviction": STOP}), LACK) is None
    assert _unmet.without_criu(configured({}), None) is None


def test_programs_are_looked_for_as_their_sandbox_will(tmp_path):
    (tmp_path / "vllm").write_text("")
    (tmp_path / "vllm").chmod(0o755)
    here = {"env": {"PATH": str(tmp_path)}}
    by_path = {"engine": "command", "command": ["/nowhere/engine"]}
    settings = configured({}, {"engine": "tiny"}, here, by_path, {})
    found = _unmet.find(settings, {"PATH": "/nowhere"}).programs
    assert [(each.engine, each.models, each.place) for each in found] == [
        ("vllm", ("m0", "m4"), None),
        ("tiny", ("m1",), sys.executable),
        ("vllm", ("m2",), str(tmp_path / "vllm")),
        ("command", ("m3",), None),
    ]
    assert [each.unmet and each.unmet.what for each in found] == [
        "no program vllm on PATH: m0 and m4 cannot start without it",
        None,
        None,
        "no program /nowhere/engine: m3 cannot start without it",
    ]


def test_what_is_relative_is_relative_to_where_engines_start(tmp_path, monkeypatch):
    (tmp_path / "engine").write_text("")
    (tmp_path / "engine").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    relative = {"engine": "command", "command": ["./engine"]}
    (found,) = _unmet.find(configured(relative), {}).programs
    assert found.place is None


def test_a_remote_model_needs_no_program():
    remote = {"model_path": "x", "engine": "remote", "remote": {"url": "https://x"}}
    settings = config.parse(json.dumps({"models": {"far": remote}}))
    assert _unmet.find(settings, {}) == _unmet.Here((), ())


@pytest.mark.parametrize("engine", [{}, {"engine": "tiny"}, {"engine": "sglang"}, {"engine": "llama.cpp"}])
def test_a_model_that_is_told_by_a_path_is_looked_for(tmp_path, engine):
    (tmp_path / "there").mkdir()
    here, gone = ({"model_path": str(tmp_path / name)} for name in ("there", "gone"))
    named = {"model_path": "org/name"}
    found = _unmet.find(configured(*(engine | each for each in (here, gone, named))), {}).sources
    assert [(each.model, each.unmet is None) for each in found] == [("m0", True), ("m1", False)]
    assert found[1].unmet.what == f"{tmp_path}/gone does not exist: m1 cannot start without it"
    assert found[1].unmet.mend == "Correct model_path, or mount it here"


def test_a_relative_path_of_a_model_is_taken_from_where_engines_start(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    (found,) = _unmet.find(configured({"model_path": "./model"}), {}).sources
    assert found.unmet.what == "/model does not exist: m0 cannot start without it"
    assert "(./model is taken from /, where engines start)" in found.unmet.mend


def test_a_path_below_a_file_is_none_and_one_that_cannot_be_looked_at_is_told(tmp_path):
    (tmp_path / "file").touch()
    paths = (f"{tmp_path}/file/model", f"{tmp_path}/{'x' * 300}")
    found = _unmet.find(configured(*({"model_path": path} for path in paths)), {}).sources
    assert [each.absence for each in found] == ["does not exist", "cannot be read (File name too long)"]


def test_a_path_that_a_command_is_not_told_is_nobodys_to_look_for():
    command = {"engine": "command", "model_path": "/gone"}
    told, untold = (command | {"command": ["serve", *words]} for words in (["--model={model_path}"], []))
    assert [each.model for each in _unmet.find(configured(told, untold), {}).sources] == ["m0"]


async def test_all_that_is_unmet_is_looked_for(tmp_path):
    checkpoint = {"criu_path": str(tmp_path / "criu"), "images_dir": str(tmp_path)}
    here = await _unmet.look(configured({}, checkpoint=checkpoint), {"PATH": str(tmp_path)})
    assert [each.what.partition(",")[0] for each in here.unmet] == [
        "m0 sleeps on disk",
        "no program vllm on PATH: m0 cannot start without it",
    ]
    settled = configured({"engine": "tiny", "eviction": STOP}, checkpoint=checkpoint)
    assert (await _unmet.look(settled, {})).unmet == ()


async def test_a_python_without_the_engine_is_no_engine(tmp_path):
    (tmp_path / "python3").symlink_to(sys.executable)
    sglang = {"engine": "sglang", "eviction": STOP}
    with_it = sglang | {"env": {"PYTHONPATH": str(tmp_path)}}
    (tmp_path / "sglang").mkdir()
    for name in ("__init__.py", "launch_server.py"):
        (tmp_path / "sglang" / name).write_text("")
    here = await _unmet.look(configured(sglang, with_it, sglang), {"PATH": str(tmp_path)})
    assert [each.models for each in here.programs] == [("m0", "m2"), ("m1",)]
    (unmet,) = here.unmet
    assert unmet.what == (
        f"{tmp_path}/python3 cannot run sglang.launch_server, and m0 and m2 cannot start without it: "
        "ModuleNotFoundError: No module named 'sglang'"
    )
    assert "Install SGLang" in unmet.mend


async def test_what_is_tried_gets_no_key_of_llmuxs(tmp_path):
    (tmp_path / "sglang").mkdir()
    (tmp_path / "sglang" / "launch_server.py").write_text("")
    (tmp_path / "sglang" / "__init__.py").write_text("import os; raise OSError(os.environ.get('A_KEY'))")
    sglang = {"engine": "sglang", "eviction": STOP, "program": [sys.executable, "-m", "sglang.launch_server"]}
    settings = configured(sglang, access={"keys": {"a": {"env": "A_KEY"}}})
    here = await _unmet.look(settings, {"PYTHONPATH": str(tmp_path), "A_KEY": "secret"})
    assert [each.fault for each in here.programs] == ["OSError: None"]
