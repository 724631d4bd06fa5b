"""TCP connections into a container, whatever network it has."""

from __future__ import annotations

import ctypes
import os
import random
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

Dialer = Callable[[int, float], socket.socket]
"""Connects to a port within a time limit in seconds. Raises OSError."""

CLONE_NEWNET = 0x40000000
_SERVERS = (20_000, 32_000)
"""Under those that the kernel gives to whoever connects: no client takes one in between (ip(7), ip_local_port_range)."""
_libc = ctypes.CDLL(None, use_errno=True)


def to_address(address: str) -> Dialer:
    """Return a dialer of ports at an address that this host reaches."""
    return lambda port, timeout: socket.create_connection((address, port), timeout)


def into_namespace_of(pid: int) -> Dialer:
    """Return a dialer of the loopback ports in the network namespace of a process. Needs root.

    setns(2) moves the calling thread only, and a socket belongs for life to the namespace it was made in; so each connection
    is made by a thread that ends with it.
    """

    def dial(port: int, timeout: float) -> socket.socket:
        with ThreadPoolExecutor(max_workers=1) as threads:
            return threads.submit(_dial_inside, pid, port, timeout).result()

    return dial


def _dial_inside(pid: int, port: int, timeout: float) -> socket.socket:
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if _libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(
                number, f"can't enter the network namespace of process {pid}: {os.strerror(number)}"
            )
    return socket.create_connection(("127.0.0.1", port), timeout)


def is_taken(port: int) -> bool:
    """Tell whether something on this host listens on a TCP port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> tuple[int, ...]:
    """Return TCP ports that nothing on this host listens on just now."""
    found: set[int] = set()
    while len(found) < count:
        port = random.SystemRandom().randrange(*_SERVERS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return tuple(found)
