"""Keeps a file that CRIU uses up to one restore at a time, wherever the others run.

A restore links a lost name from its link remap and unlinks that at its end (`clean_one_remap` of files-reg.c); one that finds it gone ends its tree. Two containers
that share a directory, /dev/shm say, need not share a journal. So the file itself is locked (flock), from before it has a name until CRIU is done with it or has ended:
any process on this kernel sees that, and the lock ends with its holders.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from llmux.criu_images._paths import RawPath
from llmux.criu_images._safefs import Tree, by_fd
from llmux.criu_images.errors import UnsafeLink
from llmux.criu_images.manifest import FileEntry, Manifest

_MOST = 200
"""Descriptors that a holder is passed at once, beside those of external peers."""


class Kept:
    """The locks of one rebuild; a process that has the descriptors too keeps them beyond its end."""

    def __init__(self, manifest: Manifest) -> None:
        self._files = {entry.names[0]: entry for entry in _exclusive(manifest)}
        self.fds: dict[RawPath, int] = {}
        """By the file's first name."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self.fds.values():
            os.close(fd)

    def take(self, entry: FileEntry, fd: int) -> None:
        """Lock the inode `fd`, which is to become or is the entry's, if one restore at a time may use it; raises OSError."""
        if entry.names[0] in self._files and len(self.fds) < _MOST:
            own = os.open(by_fd(fd), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self.fds[entry.names[0]] = own
            if not _lock(own):
                raise OSError(errno.EBUSY, "another restore that is not over uses it")

    def take_all(self, tree: Tree) -> Iterator[RawPath]:
        """Lock what was there before, too; yield each name before it is tried. Raises OSError, UnsafeLink."""
        for first, entry in self._files.items():
            if first not in self.fds:
                yield entry.consumed[0]
                with tree.open(entry.consumed[0], os.O_PATH) as fd:
                    self.take(entry, fd)


def find_kept(manifest: Manifest, tree: Tree) -> frozenset[RawPath]:
    """Return the first names of files that another restore has locked."""
    return frozenset(
        entry.names[0]
        for entry in _exclusive(manifest)
        if any(_is_locked(tree, name) for name in entry.names)
    )


def _is_locked(tree: Tree, name: RawPath) -> bool:
    with suppress(OSError, UnsafeLink), tree.open_file(name, os.O_RDONLY) as fd:
        return not _lock(fd)
    return False


def _lock(fd: int) -> bool:
    """Take the lock, which ends with the descriptor; tell whether nobody else has it. A file system without such locks has no rivals."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _exclusive(manifest: Manifest) -> Iterator[FileEntry]:
    """Yield the link remaps; not one that the tree itself locks: its restore would wait for ours."""
    locked = {lock.path for lock in manifest.locks}
    for entry in manifest.files:
        if entry.consumed and locked.isdisjoint(entry.names):
            yield entry
