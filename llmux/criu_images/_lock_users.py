"""Which processes have a file open or locked, by name, as far as /proc shows them: for messages, since others may have it too."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from llmux.criu_images._counted import counted

FLOCKS = frozenset({b"FLOCK"})
RANGES = frozenset({b"POSIX", b"OFDLCK"})
"""Kinds of locks that rival each other, as proc_pid_fdinfo(5) calls them."""
_MOST_NAMED = 3


def name_users(fd: int, kinds: Collection[bytes] | None) -> str:
    """Name the processes that have a lock of these kinds on what `fd` refers to; by None, the others that have it open. Empty if none is seen."""
    status = os.fstat(fd)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or may not be looked at
            if _uses(process, status, kinds):
                name = (process / "comm").read_text(errors="replace").strip()
                found.append(f"process {process.name} ({name})")
    return _list(sorted(found))


def _list(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    rest = [counted(more, "more process", "more processes")] if more > 0 else []
    return ", ".join([*names[:_MOST_NAMED], *rest])


def _uses(process: Path, status: os.stat_result, kinds: Collection[bytes] | None) -> bool:
    if kinds is None:
        return process.name != str(os.getpid()) and any(_same(process / "fd", status))
    return any(_is_told(process / "fdinfo" / fd.name, kinds) for fd in _same(process / "fd", status))


def _same(descriptors: Path, status: os.stat_result) -> Iterator[Path]:
    for fd in descriptors.iterdir():
        with suppress(OSError):
            if os.path.samestat(fd.stat(), status):
                yield fd


def _is_told(fdinfo: Path, kinds: Collection[bytes]) -> bool:
    lines = (line.split() for line in fdinfo.read_bytes().splitlines() if line.startswith(b"lock:"))
    return any(words[2] in kinds for words in lines if len(words) > 2)
