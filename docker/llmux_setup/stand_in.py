"""The stand-ins for NVIDIA's driver library and NVML that tests use: a C file each, compiled where a compiler is, or can be installed."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import debian
from .paths import CACHE, ROOT
from .shell import run, skip, step

SOURCES = ROOT / "tests/stand_in_driver"
DRIVER = CACHE / "stand_in_driver"
"""A directory for LD_LIBRARY_PATH."""
OLD_DRIVER = CACHE / "stand_in_driver_old"
"""The same of a driver that has no checkpoint API."""
NVML = CACHE / "stand_in_nvml"
"""The same of the library that tells of GPUs."""
_CUDA, _ML = "libcuda.so.1", "libnvidia-ml.so.1"
_BUILT = (
    (DRIVER / _CUDA, "libcuda.c", ()),
    (OLD_DRIVER / _CUDA, "libcuda.c", ("-DWITHOUT_CHECKPOINT_API", "-Wno-unused-function")),
    (NVML / _ML, "libnvidia-ml.c", ()),
)
_FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-shared", "-fPIC")


def build() -> None:
    """Compile those that are older than their source."""
    stale = [each for each in _BUILT if not _is_fresh(*each[:2])]
    if not stale:
        skip("stand-ins for NVIDIA's libraries")
        return
    if shutil.which("cc") is None:
        debian.install(
            "gcc", "libc6-dev", why="a C compiler, for the tests' stand-ins of NVIDIA's libraries,"
        )
    with step("stand-ins for NVIDIA's libraries"):
        for library, source, flags in stale:
            _compile(library, source, *flags)


def _compile(library: Path, source: str, *flags: str) -> None:
    library.parent.mkdir(parents=True, exist_ok=True)
    new = library.with_name(f"{library.name}.new")
    run("cc", *_FLAGS, *flags, f"-Wl,-soname,{library.name}", "-o", new, SOURCES / source)
    new.replace(library)


def _is_fresh(library: Path, source: str) -> bool:
    return library.exists() and library.stat().st_mtime >= (SOURCES / source).stat().st_mtime
