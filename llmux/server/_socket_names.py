"""The names that the sockets of engines have in the file system: an engine that is killed leaves them, and llmux removes them.

Synchronous: call it in a thread.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from llmux.server._berth import short_address
from llmux.server._facts import descriptors, link_of, proc_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Name:
    """A socket's name in the file system, by what tells it from a later one."""

    path: Path
    device: int
    inode: int

    def remove(self) -> bool:
        """Remove it unless it is another file by now; say whether it is gone."""
        if name_of(self.path) != self:
            return False
        self.path.unlink()
        return True


def names_of(init_pid: int) -> tuple[Name, ...]:
    """Return the names of unix sockets that processes of a sandbox have bound, as far as they are seen from here too.

    None where what is looked at is no sandbox, with a PID namespace and a /proc of its own: there they may be anybody's, and llmux
    removes those of an engine that has ended.
    """
    if not _is_apart(init_pid):
        return ()
    held = {link.removeprefix("socket:[").rstrip("]") for _, link in descriptors(proc_of(init_pid))}
    table = Path("/proc/net/unix").read_text("utf-8", "surrogateescape")
    found = (name_of(Path(path)) for path in named_sockets(table, held))
    inside = Path(f"/proc/{init_pid}/root")
    return tuple(name for name in found if name and name.inode == _inode(inside, name))


def _is_apart(init_pid: int) -> bool:
    own, inside = link_of(Path(f"/proc/{init_pid}/ns/pid")), link_of(proc_of(init_pid) / "1/ns/pid")
    return own == inside != link_of(Path("/proc/self/ns/pid"))


def remove(owner: str, left: Iterable[Name]) -> None:
    """Remove the sockets that an engine had no time to remove."""
    for each in left:
        try:
            if each.remove():
                log.info("%s: removed %s, which its engine had left", owner, each.path)
        except OSError as error:
            log.warning("%s: %s was left: %s", owner, each.path, error)


def named_sockets(table: str, inodes: Collection[str]) -> tuple[str, ...]:
    """Return the paths of those sockets in the text of /proc/net/unix (unix(7)): Num RefCount Protocol Flags Type St Inode Path."""
    rows = (line.split(None, 7) for line in table.splitlines()[1:])
    return tuple(
        dict.fromkeys(row[7] for row in rows if len(row) > 7 and row[6] in inodes and row[7][0] == "/")
    )


def name_of(path: Path) -> Name | None:
    """Return the name of a socket; None where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return Name(path, found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None


def _inode(inside: Path, name: Name) -> int | None:
    seen = name_of(inside / name.path.relative_to("/"))
    return seen.inode if seen and seen.device == name.device else None


def is_dead(name: Name) -> bool:
    """Say whether no socket has the name, in whichever network namespace it would be (unix(7))."""
    if _leads_elsewhere(name.path) or str(name.path) in _bound():
        return False
    with closing(socket.socket(socket.AF_UNIX)) as caller:
        caller.setblocking(False)
        try:
            with short_address(name.path) as address:
                caller.connect(address)
        except ConnectionRefusedError:
            return True
        except OSError:  # EPROTOTYPE: of another type, EAGAIN: its queue is full; either way it is somebody's
            return False
    return False


def _leads_elsewhere(path: Path) -> bool:
    """Say whether a link is in the way: somebody may have made it since."""
    return os.path.realpath(path.parent) != str(path.parent)


def _bound() -> frozenset[str]:
    """Return the paths in /proc/net/unix: also of sockets that are bound and do not listen, which refuse a connection too."""
    table = Path("/proc/net/unix").read_text("utf-8", "surrogateescape")
    rows = (line.split(None, 7) for line in table.splitlines()[1:])
    return frozenset(row[7] for row in rows if len(row) > 7)


class Arrivals:
    """What comes into a directory while an engine starts: one that is killed before llmux sees what it has bound has no other witness."""

    def __init__(self, directory: Path) -> None:
        """Note what is there already. Raises OSError."""
        self._directory = directory
        self._there = _sockets_in(directory)

    def dead(self) -> frozenset[Name]:
        """Return the names of llmux's user that have come since and that no socket has. Raises OSError.

        One that is being bound has none yet.
        """
        come = _sockets_in(self._directory) - self._there
        return frozenset(name for name in come if _is_own(name) and is_dead(name))


def _sockets_in(directory: Path) -> frozenset[Name]:
    with os.scandir(directory) as entries:
        # What is of none of these kinds need not be asked for its own.
        found = [each.name for each in entries if not (each.is_symlink() or each.is_file() or each.is_dir())]
    return frozenset(name for each in found if (name := name_of(directory / each)))


def _is_own(name: Name) -> bool:
    try:
        return name.path.lstat().st_uid == os.geteuid()
    except OSError:
        return False
