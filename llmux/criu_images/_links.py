"""Finds the other names of a file that has several, also in directories that the dump does not name.

A hard link may be anywhere on the file's mount, and the tree stands still while this looks: so it looks from near to far, below each directory of
a known name, then below the one above it, up to the mount's root, and gives up after a number of entries. The count decides, not the clock: the same
files give the same manifest. In the container's own layer, an overlay's, a directory that is older than the container holds nothing of that layer.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from llmux.criu_images._facts import Inode
from llmux.criu_images._linux import Glimpse, glimpse
from llmux.criu_images._paths import RawPath
from llmux.criu_images._safefs import Tree, inspect_fd
from llmux.criu_images.errors import UnsafeLink

MOST_ENTRIES = 20_000
"""So many entries are looked at in a capture beyond the directories of known names, about 5 microseconds each."""


@dataclass(slots=True)
class LinkSearch:
    """One capture's search: no directory is read twice, whichever file's names are wanted."""

    tree: Tree
    layer_mount: int | None = None
    """The mount of the container's own layer, if that is an overlay."""
    start_ns: int = 0
    """The container's creation."""
    left: int = MOST_ENTRIES
    _names: defaultdict[tuple[int, int], set[RawPath]] = field(default_factory=lambda: defaultdict(set))
    _below: dict[RawPath, tuple[RawPath, ...]] = field(default_factory=dict)

    def names_of(self, inode: Inode, known: Iterable[RawPath]) -> frozenset[RawPath]:
        """Return the known names and those that are found; raises OSError, UnsafeLink where a known name's directory cannot be read."""
        near = sorted({_parent(name) for name in known})
        for directory in near:
            if directory not in self._below:
                self._read(directory, None)
        for directory in self._places(near, inode):
            if len(self._names[inode.identity]) >= inode.links or (
                self.left <= 0 and directory not in self._below
            ):
                break
            if directory not in self._below:
                with suppress(OSError, UnsafeLink):
                    self._read(directory, self.left)
        return frozenset({*known, *self._names[inode.identity]})

    def _places(self, near: list[RawPath], inode: Inode) -> Iterator[RawPath]:
        """Yield directories from near to far; what is below one is known once the caller has read it."""
        passed: set[RawPath] = set()
        level = near
        while level:
            todo = deque(level)
            while todo:
                directory = todo.popleft()
                if directory not in passed:
                    passed.add(directory)
                    yield directory
                    todo += self._below.get(directory, ())
            level = sorted(set(self._above(level, inode)))

    def _above(self, level: Iterable[RawPath], inode: Inode) -> Iterator[RawPath]:
        """Yield the directories right above those of `level`, as far as they are on the file's mount."""
        for directory in level:
            with suppress(OSError, UnsafeLink):
                above = self.tree.inspect(_parent(directory))
                if directory != b"/" and above is not None and above.mount == inode.mount:
                    yield _parent(directory)

    def _read(self, directory: RawPath, most: int | None) -> None:
        """Note what a directory holds: all of it, or so many entries."""
        self._below[directory] = ()
        with self.tree.open(directory, os.O_RDONLY | os.O_DIRECTORY) as fd:
            with os.scandir(fd) as entries:
                names = [os.fsencode(entry.name) for entry in islice(entries, most)]
            self.left -= 0 if most is None else len(names)
            mount = inspect_fd(fd).mount
            self._below[directory] = tuple(
                path
                for name in sorted(names)
                for path in self._note(fd, RawPath(directory.rstrip(b"/") + b"/" + name), mount)
            )

    def _note(self, fd: int, path: RawPath, mount: int | None) -> Iterator[RawPath]:
        """Note an entry if it is a file with several names; yield it if it is a directory to go into."""
        name = path.rpartition(b"/")[2]
        with suppress(FileNotFoundError):
            seen = glimpse(fd, name)
            if stat.S_ISREG(seen.mode) and seen.links > 1:
                # Looked at once more: on overlayfs a directory's own inode numbers may not be those of stat(2).
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                self._names[status.st_dev, status.st_ino].add(path)
            elif stat.S_ISDIR(seen.mode) and seen.mount == mount and not self._of_the_image(seen):
                yield path

    def _of_the_image(self, seen: Glimpse) -> bool:
        return seen.mount == self.layer_mount and seen.birth_ns < self.start_ns


def _parent(path: RawPath) -> RawPath:
    return RawPath(path.rpartition(b"/")[0] or b"/")
