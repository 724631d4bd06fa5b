"""The stand-ins for NVIDIA's driver library and NVML that tests use: a few C files each, compiled where a compiler is, or can be installed."""

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
_SHARED = "files.c"
_WITHOUT_CHECKPOINT_API = (_SHARED, "cuda_devices.c", "cuda_memory.c", "cuda_states.c")
_BUILT = (
    (DRIVER / _CUDA, (*_WITHOUT_CHECKPOINT_API, "cuda_checkpoint.c")),
    (OLD_DRIVER / _CUDA, _WITHOUT_CHECKPOINT_API),
    (NVML / _ML, (_SHARED, "libnvidia-ml.c")),
)
_FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-shared", "-fPIC")


def build() -> None:
    """Compile those that are older than what they are made of."""
    stale = [each for each in _BUILT if not _is_fresh(*each)]
    if not stale:
        skip("stand-ins for NVIDIA's libraries")
        return
    if shutil.which("cc") is None:
        debian.install(
            "gcc", "libc6-dev", why="a C compiler, for the tests' stand-ins of NVIDIA's libraries,"
        )
    with step("stand-ins for NVIDIA's libraries"):
        for library, sources in stale:
            _compile(library, sources)


def _compile(library: Path, sources: tuple[str, ...]) -> None:
    library.parent.mkdir(parents=True, exist_ok=True)
    new = library.with_name(f"{library.name}.new")
    paths = (SOURCES / source for source in sources)
    run("cc", *_FLAGS, f"-Wl,-soname,{library.name}", "-o", new, *paths)
    new.replace(library)


def _is_fresh(library: Path, sources: tuple[str, ...]) -> bool:
    made_of = (*(SOURCES / source for source in sources), *SOURCES.glob("*.h"))
    return library.exists() and library.stat().st_mtime >= max(path.stat().st_mtime for path in made_of)
