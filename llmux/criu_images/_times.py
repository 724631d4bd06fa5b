"""Puts back the times of directories that were there before a rebuild, once what it has put into them is out again.

Only where nobody else has put anything in or taken it out since: a directory whose time does not tell of a change misleads every program that keeps
an index of it. So the journal has each such directory twice, before our first change in it and after our last.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from llmux.criu_images._facts import Born
from llmux.criu_images._journal import Kind, Made
from llmux.criu_images._paths import RawPath
from llmux.criu_images._safefs import Tree, by_fd, inspect_fd
from llmux.criu_images.errors import UnsafeLink

_Directory = tuple[RawPath, Born]


def earlier_times(tree: Tree, lines: Sequence[Made]) -> Mapping[_Directory, int]:
    """Return when each directory was modified before the rebuilds of `lines`, if nobody else has changed it since."""
    found: dict[_Directory, int] = {}
    ours: set[_Directory] = set()
    for made in reversed(lines):
        if made.kind is Kind.DIRECTORY_LEFT:
            directory = made.paths[0], made.born
            time = found[directory] if directory in found else _time_of(tree, *directory)
            ours |= {directory} if time == made.mtime_ns else set()
        elif made.kind is Kind.DIRECTORY_FOUND and (made.paths[0], made.born) in ours:
            ours.remove((made.paths[0], made.born))
            found[made.paths[0], made.born] = made.mtime_ns
    return found


def _time_of(tree: Tree, path: RawPath, born: Born) -> int | None:
    with suppress(OSError, UnsafeLink):
        inode = tree.inspect(path)
        if inode is not None and inode.born == born:
            return inode.mtime_ns
    return None


def put_back(tree: Tree, times: Mapping[_Directory, int], left: Collection[RawPath]) -> None:
    """Set the times, but not of a directory in which something of ours, one of `left`, stays."""
    kept = {path.rpartition(b"/")[0] or b"/" for path in left}
    for (path, born), time in times.items():
        with suppress(OSError, UnsafeLink), tree.open(path, os.O_PATH | os.O_DIRECTORY) as fd:
            inode = inspect_fd(fd)
            if inode.born == born and path not in kept:
                os.utime(by_fd(fd), ns=(inode.atime_ns, time))
