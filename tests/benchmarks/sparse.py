"""Sparse files of 10 GB: seconds to copy, capture and rebuild them grow with the data, not with the size; and so does no memory."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmux.criu_images import rebuild
from llmux.criu_images._capture import Subject, capture_subject, survey_place
from llmux.criu_images._digest import Algorithm, copy_file
from llmux.criu_images._inventory import Inventory, PathKind, PathReference
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import Pid
from llmux.criu_images._safefs import Tree

SIZE = 10_000_000_000
MEBIBYTE = 1 << 20
MOST_MEBIBYTES = 300
"""Of memory, whatever the data."""


def fill(fd: int, mebibytes: int) -> None:
    for number in range(mebibytes):
        os.pwrite(fd, os.urandom(MEBIBYTE), SIZE // mebibytes * number // 4096 * 4096)
    os.ftruncate(fd, SIZE)


def measure_copy(mebibytes: int) -> float:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as copy:
        fill(source.fileno(), mebibytes)
        began = time.perf_counter()
        copy_file(source.fileno(), copy.fileno(), SIZE, Algorithm.SPARSE)
        return time.perf_counter() - began


@contextmanager
def place(mebibytes: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        for name in ("there", "here", "images"):
            (base / name).mkdir()
        with (base / "there/sparse").open("wb") as file:
            fill(file.fileno(), mebibytes)
        yield base


def measure_whole(mebibytes: int) -> tuple[float, float, int]:
    """Return the seconds of the capture and of the rebuild, and the MiB that the rebuilt file takes."""
    inventory = Inventory(
        (PathReference(RawPath(b"/sparse"), PathKind.REGULAR, (), SIZE),), (), (), (), (), (), ()
    )
    with place(mebibytes) as base:
        began = time.perf_counter()
        with Tree(base / "there") as tree:
            capture_subject(
                Subject(inventory, Pid(1), frozenset()), base / "images", survey_place(tree, 0), None
            )
        captured = time.perf_counter()
        rebuild(base / "images", root=base / "here", journal=base / "journals/j")
        done = time.perf_counter()
        status = (base / "here/sparse").stat()
        if status.st_size != SIZE:
            raise SystemExit(f"rebuilt with {status.st_size} bytes")
    return captured - began, done - captured, status.st_blocks * 512 // MEBIBYTE


def main() -> None:
    for mebibytes in (1, 16, 64, 256):
        seconds = measure_copy(mebibytes)
        print(f"10 GB with {mebibytes:3} MiB of data: copied in {seconds:6.3f} s")  # noqa: T201
    for mebibytes in (1, 64):
        capture, rebuilding, taken = measure_whole(mebibytes)
        text = f"captured in {capture:6.3f} s, rebuilt in {rebuilding:6.3f} s, taking {taken} MiB"
        print(f"10 GB with {mebibytes:3} MiB of data: {text}")  # noqa: T201
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"at most {most} MiB of memory (promised: {MOST_MEBIBYTES})")  # noqa: T201
    if most > MOST_MEBIBYTES:
        raise SystemExit("more memory than promised")


if __name__ == "__main__":
    main()
