"""How much an export of the whole container would carry: what its writable layer holds, and its shared memory.

That is what podman and CRI-O put beside the images of a checkpoint. It is measured while the tree is frozen, so it must cost next to
nothing: on overlayfs a file of the writable layer has all its directories there too, and such a directory's birth is not older than the container, so
whatever is below an older directory need not be looked at.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from llmux.criu_images._linux import Glimpse, glimpse

_MOST_ENTRIES = 20_000
"""So many entries are looked at, about 5 microseconds each; then the sum is called a least one."""
_SHARED_MEMORY = "dev/shm"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Difference:
    """The whole difference of a container to its image."""

    bytes: int
    """Without holes."""
    known_by: str
    """How it was found out, and whether it may be more."""


@dataclass(slots=True)
class _Sum:
    start_ns: int
    mount: int
    skipped: frozenset[int]
    """Inode numbers of directories that are left out."""
    left: int
    bytes: int = 0
    linked: set[int] = field(default_factory=set)

    def add(self, seen: Glimpse) -> None:
        if seen.links > 1 and seen.inode in self.linked:
            return
        self.linked.add(seen.inode)
        self.bytes += seen.data


def measure_difference(root: Path, mount: int, start_ns: int, images: Path) -> Difference:
    """Measure the writable layer of the overlay at `root`, whose mount id is `mount`, but for the directory `images`, and the shared memory.

    What cannot be looked at is not counted: this is for a comparison, not for the restore. Raises OSError where `root` or `images` is none.
    """
    whole = _Sum(start_ns, mount, frozenset({images.stat().st_ino}), _MOST_ENTRIES)
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        todo = [b"."]
        while todo and whole.left > 0:
            todo += _add_directory(whole, top, todo.pop())
    finally:
        os.close(top)
    more = "" if whole.left > 0 else f", of {_MOST_ENTRIES} entries: it may be more"
    return Difference(
        whole.bytes + _shared_memory(root / _SHARED_MEMORY),
        f"measured: the overlay's writable layer and /dev/shm{more}",
    )


def _add_directory(whole: _Sum, top: int, path: bytes) -> list[bytes]:
    """Add what is in the directory at `path` below `top`, and return those of its directories that are in the writable layer."""
    try:
        directory = os.open(path, _DIRECTORY, dir_fd=top)
    except OSError:
        return []
    try:
        with os.scandir(directory) as entries:
            names = [os.fsencode(entry.name) for entry in islice(entries, whole.left)]
        whole.left -= len(names)
        return [path + b"/" + name for name in names if _add_entry(whole, directory, name)]
    finally:
        os.close(directory)


def _add_entry(whole: _Sum, directory: int, name: bytes) -> bool:
    """Add an entry if it is of the writable layer; tell whether it is a directory to go into."""
    try:
        seen = glimpse(directory, name)
    except OSError:
        return False
    if seen.mount != whole.mount or seen.birth_ns < whole.start_ns or seen.inode in whole.skipped:
        return False
    if stat.S_ISDIR(seen.mode):
        return True
    whole.add(seen)
    return False


def _shared_memory(directory: Path) -> int:
    """Return the bytes in use on /dev/shm, 0 where that is no mount of its own."""
    try:
        if not directory.is_mount():
            return 0
        usage = os.statvfs(directory)
    except OSError:
        return 0
    return (usage.f_blocks - usage.f_bfree) * usage.f_frsize
