"""The stand-in for NVIDIA's driver library that tests use: one C file, compiled where a compiler is, or can be installed."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import debian
from .paths import CACHE, ROOT
from .shell import run, skip, step

SOURCE = ROOT / "tests/stand_in_driver/libcuda.c"
DRIVER = CACHE / "stand_in_driver"
"""A directory for LD_LIBRARY_PATH."""
OLD_DRIVER = CACHE / "stand_in_driver_old"
"""The same of a driver that has no checkpoint API."""
_NAME = "libcuda.so.1"
_FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-shared", "-fPIC")


def build() -> None:
    """Compile both, where they are older than their source."""
    if all(_is_fresh(place / _NAME) for place in (DRIVER, OLD_DRIVER)):
        skip("stand-in for NVIDIA's driver library")
        return
    if shutil.which("cc") is None:
        debian.install("gcc", "libc6-dev", why="a C compiler, for the tests' stand-in of NVIDIA's driver,")
    with step("stand-in for NVIDIA's driver library"):
        _compile(DRIVER)
        _compile(OLD_DRIVER, "-DWITHOUT_CHECKPOINT_API", "-Wno-unused-function")


def _compile(place: Path, *flags: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    new = place / f"{_NAME}.new"
    run("cc", *_FLAGS, *flags, f"-Wl,-soname,{_NAME}", "-o", new, SOURCE)
    new.replace(place / _NAME)


def _is_fresh(library: Path) -> bool:
    return library.exists() and library.stat().st_mtime >= SOURCE.stat().st_mtime
