"""What a Python is to run, out of a command line, and whether it finds it."""

from __future__ import annotations

import os
import sys

import pytest

from llmux.server import _modules
from llmux.server._modules import Module, lack, module_of


@pytest.mark.parametrize(
    ("argv", "python"),
    [
        ("python3 -m sglang.launch_server --port 1", "python3"),
        ("/opt/venv/bin/python -m sglang.launch_server", "/opt/venv/bin/python"),
        ("/usr/bin/python3.13t -P -X dev -W error -m sglang.launch_server", None),
        ("pypy3 -Bu -m sglang.launch_server", None),
    ],
)
def test_a_module_is_found_behind_an_interpreter_and_its_options(argv, python):
    words = argv.split()
    expected = (python,) if python else tuple(words[: words.index("-m")])
    assert module_of(words) == Module(expected, "sglang.launch_server")


@pytest.mark.parametrize(
    "argv", ["vllm serve -m x", "python3 server.py -m x", "python3 -c pass -m x", "python3 -m", "python3"]
)
def test_who_runs_something_else_has_none(argv):
    assert module_of(argv.split()) is None


def package(directory, init):
    """Make a package `engine` with a module that would serve for ever."""
    (directory / "engine").mkdir()
    (directory / "engine" / "__init__.py").write_text(init)
    (directory / "engine" / "serve.py").write_text("while True: pass")
    return {**os.environ, "PYTHONPATH": str(directory)}


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ("print('hello')", ""),
        ("import torch_of_nowhere", "ModuleNotFoundError: No module named 'torch_of_nowhere'"),
        ("raise SystemExit('no GPU')", "SystemExit: no GPU"),
        ("import os; os._exit(3)", "it ended with 3"),
    ],
)
async def test_a_package_is_imported_by_its_own_python_and_its_module_does_not_run(tmp_path, init, said):
    env = package(tmp_path, init)
    assert await lack(Module((sys.executable,), "engine.serve"), env) == said
    assert {each.name for each in (tmp_path / "engine").iterdir()} == {"__init__.py", "serve.py"}


async def test_what_is_not_there_is_told(tmp_path):
    env = package(tmp_path, "")
    python = (sys.executable, "-I")
    assert await lack(Module(python, "engine.serve"), env) == "ModuleNotFoundError: No module named 'engine'"
    assert await lack(Module((sys.executable,), "engine.x"), env) == "there is no module engine.x"


async def test_nothing_is_taken_from_the_directory_that_llmux_was_started_in(tmp_path, monkeypatch):
    package(tmp_path, "")
    (tmp_path / "posix.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    told = await lack(Module((sys.executable,), "engine.serve"), os.environ)
    assert told == "ModuleNotFoundError: No module named 'engine'"


async def test_one_that_takes_too_long_is_not_held_against_it(tmp_path, monkeypatch):
    monkeypatch.setattr(_modules, "_TIMEOUT", 0.2)
    env = package(tmp_path, "while True: pass")
    assert await lack(Module((sys.executable,), "engine.serve"), env) == ""
