"""Ports for servers of tests that are told theirs."""

from __future__ import annotations

from proof.dialing import free_ports


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on just now."""
    (port,) = free_ports(1)
    return port
