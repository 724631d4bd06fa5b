"""A Python that lacks what llmux needs: a real one, without its site-packages."""

from __future__ import annotations

import os
import subprocess  # noqa: TID251 - a Python of its own, whose packages are chosen
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import llmux
from llmux.criu_images._dependencies import missing_dependency
from llmux.criu_images.errors import ExitCode

HOOK = "from llmux.criu_images._hook import main; main()"


@pytest.fixture
def bare(tmp_path):
    """Run Python with llmux and the packages named, and nothing else but the standard library."""

    def run(*arguments, packages=(), **environment):
        place = tmp_path / "packages"
        place.mkdir()
        (place / "llmux").symlink_to(Path(llmux.__path__[0]))
        for name in packages:
            spec = find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            (place / name).symlink_to(Path(spec.origin).parent)
        done = subprocess.run(
            [sys.executable, "-S", *arguments],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        )
        return done.returncode, done.stdout, done.stderr

    return run


def said_of(package: str) -> str:
    return (
        f"the Python package {package} is missing in {sys.executable}. "
        "Install llmux with pip in the Python that you call, or call the one that has llmux\n"
    )


@pytest.mark.parametrize(
    ("command", "packages", "missing"),
    [("--help", (), "click"), ("show", ("click",), "protobuf"), ("verify", ("click",), "pydantic")],
)
def test_a_command_names_the_package_that_is_missing(bare, tmp_path, command, packages, missing):
    said = bare("-m", "llmux.criu_images", command, str(tmp_path), packages=packages)
    assert said == (ExitCode.WRONG_USE, "", f"error: {said_of(missing)}")


@pytest.mark.parametrize("stage", ["post-dump", "pre-restore"])
def test_so_does_the_hook(bare, tmp_path, stage):
    stages = {"CRTOOLS_SCRIPT_ACTION": stage, "CRTOOLS_IMAGE_DIR": str(tmp_path)}
    code, _, err = bare("-c", HOOK, **stages)
    assert code == ExitCode.WRONG_USE
    assert err.splitlines(keepends=True)[0] in {
        f"llmux-criu-hook: {said_of(name)}" for name in ("protobuf", "pydantic")
    }


def test_a_module_of_llmux_that_is_missing_is_no_dependency():
    error = ModuleNotFoundError("No module named 'llmux.none'", name="llmux.none")
    with pytest.raises(ModuleNotFoundError, match="none"):
        missing_dependency(error)
