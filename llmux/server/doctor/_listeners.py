"""Who listens where llmux or an engine is to listen, and is neither."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from llmux.server import _ports
from llmux.server._facts import descriptors
from llmux.server.doctor._facts import Port, Taken
from llmux.server.doctor._processes import is_llmuxs, name_of


def look_at(ports: Iterable[Port], proc: Path = Path("/proc")) -> Iterator[Taken]:
    """Yield the ports that somebody else has; what llmux and its engines have, while it serves, is theirs."""
    for port in ports:
        if _ports.is_taken(port.host, port.port):
            holders = sorted(_holders(port.port, proc))
            if not any(is_llmuxs(pid, proc) for pid in holders):
                pid = next(iter(holders), None)
                yield Taken(port, pid, "" if pid is None else name_of(pid, proc))


def _holders(port: int, proc: Path) -> set[int]:
    """Return the processes that are seen from here and have a socket that listens on it."""
    wanted = {f"socket:[{inode}]" for inode in _ports.listeners(port)}
    return {pid for pid, link in descriptors(proc) if link in wanted}
