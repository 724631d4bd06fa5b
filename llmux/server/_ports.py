"""An engine's port as the kernel sees it: whether it is free, and whether connections to it are still open."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from pathlib import Path

from llmux.server.errors import EnginePortTaken

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
# include/net/tcp_states.h: those in which a process still holds an end of the connection.
_OPEN = frozenset({"01", "02", "03", "04", "08", "09"})
_LISTEN = "0A"
_POLL = 0.01


async def until_free(host: str, port: int, seconds: float) -> None:
    """Wait until somebody could listen on the port. Raises EnginePortTaken where nobody can after that time.

    An engine that was killed holds its port a moment longer than its first process lives.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            _check_free(host, port)
        except EnginePortTaken:
            if time.monotonic() > until:
                raise
        else:
            return
        await asyncio.sleep(_POLL)


def _check_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        try:
            _bind(probe, (host, port))
        except OSError as error:
            reason = "somebody listens there already" if error.errno == errno.EADDRINUSE else str(error)
            hint = "End what listens there (`ss -ltnp`), or give the model another port"
            raise EnginePortTaken(port, reason, hint=hint) from error


def is_taken(host: str, port: int) -> bool:
    """Say whether somebody listens where one would listen on `port` of `host`; where nobody could for another reason, it is not taken."""
    if not listeners(port):
        return False  # nothing is bound in vain: an engine might want it at this moment
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    return any(_refused(family, address) for family, *_, address in found)


def _refused(family: int, address: tuple[object, ...]) -> bool:
    try:
        with socket.socket(family) as probe:
            _bind(probe, address)
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _bind(probe: socket.socket, address: tuple[object, ...]) -> None:
    """Bind it as asyncio does for a server. Raises OSError."""
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if probe.family == socket.AF_INET6:
        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    probe.bind(address)


async def wait_until_unconnected(port: int, seconds: float) -> bool:
    """Wait until no process holds a connection to `port`; say whether that came true in time.

    A connection that llmux has closed is in the engine's hands a moment longer, and would be in its dump.
    """
    until = time.monotonic() + seconds
    while await asyncio.to_thread(_is_connected, port):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(_POLL)
    return True


def _is_connected(port: int) -> bool:
    return any(port in connected_ports(table.read_text("ascii")) for table in _TABLES if table.exists())


def listeners(port: int) -> frozenset[str]:
    """Return the inodes of the sockets that listen on `port`."""
    tables = (table.read_text("ascii") for table in _TABLES if table.exists())
    return frozenset(inode for text in tables for inode in listening_inodes(text, port))


def listening_inodes(table: str, port: int) -> frozenset[str]:
    """Return the inodes of those that listen on `port` in the text of /proc/net/tcp or tcp6 (proc_net_tcp(5))."""
    rows = (line.split() for line in table.splitlines()[1:])
    return frozenset(
        row[9]
        for row in rows
        if len(row) > 9 and row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port
    )


def connected_ports(table: str) -> frozenset[int]:
    """Return the local ports of the open connections in the text of /proc/net/tcp or tcp6 (proc_net_tcp(5))."""
    rows = (line.split() for line in table.splitlines()[1:])
    return frozenset(int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] in _OPEN)
