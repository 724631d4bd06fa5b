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


def unix_sockets(pid: int) -> frozenset[Socket]:
    """Return the sockets of this process's network namespace that processes in PID namespaces below its own hold."""
    lines = run(["nsenter", f"--net=/proc/{pid}/ns/net", "ss", "-xapnOH"]).splitlines()
    return frozenset(_sockets(lines, depth=len(_ids(pid))))


def _sockets(lines: list[str], depth: int) -> Iterator[Socket]:
    for line in lines:
        kind, state, _, _, path, inode, _, peer, *users = line.split(maxsplit=8)
        holders = [(int(holder), int(fd)) for holder, fd in _HOLDER.findall("".join(users))]
        inside = frozenset((_ids(holder)[-1], fd) for holder, fd in holders if len(_ids(holder)) > depth)
        if any(holder != 1 for holder, _ in inside):  # those of the namespace's init alone are llmux's own
            yield Socket(
                inode=int(inode),
                type=TYPES[kind],
                listening=state == "LISTEN",
                path=None if path == "*" else path,
                peer=int(peer) or None,
                holders=inside,
            )


def _ids(pid: int) -> list[int]:
    """Return a process's id in this PID namespace and in each one below that it is in."""
    status = Path(f"/proc/{pid}/status").read_text()
    return [int(each) for each in status.partition("NSpid:")[2].splitlines()[0].split()]
