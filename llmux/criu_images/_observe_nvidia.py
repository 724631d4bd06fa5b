"""What NVIDIA's driver says of itself and of its GPUs in /proc: no library of its own is loaded, and a machine without it is no error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from llmux.criu_images._nvidia import Gpu, NvidiaDriver, parse_gpu, parse_version
from llmux.criu_images._paths import RawPath
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import UnsafeLink

_DRIVER = b"/proc/driver/nvidia"
_MOST_BYTES = 1 << 16
"""The driver writes some hundreds."""
_MOST_GPUS = 1024


def read_driver(tree: Tree) -> NvidiaDriver | None:
    """Return the driver as the container with this root sees it, or None.

    A container's runtime shows it the files of its own GPUs alone. Where the tree has no /proc yet (CRIU mounts it at the restore), this process's tells.
    """
    if _is_there(tree, b"/proc/driver"):
        return _read_driver(tree)
    with Tree(Path("/")) as own:
        return _read_driver(own)


def _is_there(tree: Tree, path: bytes) -> bool:
    try:
        return tree.inspect(RawPath(path)) is not None
    except (OSError, UnsafeLink):
        return False


def _read_driver(tree: Tree) -> NvidiaDriver | None:
    try:
        version = parse_version(_read(tree, _DRIVER + b"/version"))
    except (OSError, UnsafeLink):
        return None
    return NvidiaDriver(version, tuple(_read_gpus(tree)))


def _read_gpus(tree: Tree) -> Iterator[Gpu]:
    """Yield the GPUs in the order of their bus addresses; one that goes meanwhile is left out."""
    with suppress(OSError, UnsafeLink):
        with tree.open(RawPath(_DRIVER + b"/gpus"), os.O_RDONLY | os.O_DIRECTORY) as directory:
            buses = sorted(os.listdir(directory))[:_MOST_GPUS]  # noqa: PTH208 - pathlib can't list a descriptor
        for bus in buses:
            with suppress(OSError, UnsafeLink):
                yield parse_gpu(_read(tree, b"%s/gpus/%s/information" % (_DRIVER, os.fsencode(bus))))


def _read(tree: Tree, path: bytes) -> str:
    with tree.open_file(RawPath(path), os.O_RDONLY) as fd:
        return os.read(fd, _MOST_BYTES).decode("utf-8", "replace")
