"""Unix sockets as `ss -xp` shows them, the ids of their holders as seen in the innermost PID namespace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proof._commands import run

TYPES = {"u_str": "stream", "u_dgr": "dgram", "u_seq": "seqpacket"}
_HOLDER = re.compile(r'\("(?:[^"\\]|\\.)*",pid=(\d+),fd=(\d+)\)')


@dataclass(frozen=True)
class Socket:
    """One line of `ss -xp`."""

    inode: int
    type: str
    listening: bool
    path: str | None
    peer: int | None
    """The peer's inode."""
    holders: frozenset[tuple[int, int]]
    """Process and descriptor; the process by its id in its own PID namespace."""


def unix_sockets(pid: int, command: str) -> frozenset[Socket]:
    """Return the sockets in the network namespace of a process that processes with `command` in their line hold."""
    lines = run(["nsenter", f"--net=/proc/{pid}/ns/net", "ss", "-xapnOH"]).splitlines()
    return frozenset(_sockets(lines, command))


def _sockets(lines: list[str], command: str) -> Iterator[Socket]:
    for line in lines:
        kind, state, _, _, path, inode, _, peer, *users = line.split(maxsplit=8)
        holders = [(int(holder), int(fd)) for holder, fd in _HOLDER.findall("".join(users))]
        inside = frozenset((_innermost(holder), fd) for holder, fd in holders if command in _line(holder))
        if inside:
            yield Socket(
                inode=int(inode),
                type=TYPES[kind],
                listening=state == "LISTEN",
                path=None if path == "*" else path,
                peer=int(peer) or None,
                holders=inside,
            )


def _line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def _innermost(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("NSpid:")[2].splitlines()[0].split()[-1])
