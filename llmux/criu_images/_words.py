"""How the things of a dump are called in text for people: addresses, states, holders."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import assert_never

from llmux.criu_images._enums import SocketState, SocketType
from llmux.criu_images._inventory import socket_path
from llmux.criu_images._paths import escape
from llmux.criu_images._records import (
    Fifo,
    File,
    InetSocket,
    Memfd,
    Notify,
    OtherFile,
    Pid,
    Pipe,
    RegularFile,
    Terminal,
    UnixSocket,
)
from llmux.criu_images._users import Role, User

UNNAMED = "(unnamed)"


def counted(number: int, noun: str) -> str:
    """Write a number of things: `1 image`, `2 images`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


_STATES = {SocketState.ESTABLISHED: "ESTAB", SocketState.CLOSE: "UNCONN"}
"""Where ss(8) has a word of its own, it is used."""


def member(value: enum.Enum | int) -> str:
    """Name a number, or write it where it has no name."""
    return value.name.lower().replace("_", "-") if isinstance(value, enum.Enum) else str(value)


def socket_type(value: SocketType | int) -> str:
    return member(value)


def socket_state(value: SocketState | int) -> str:
    if isinstance(value, int):
        return str(value)
    return _STATES.get(value, value.name.replace("_", "-"))


def unix_address(socket: UnixSocket) -> str:
    """Write a name: a path absolute and escaped, an abstract name after an `@`."""
    if not socket.name:
        return UNNAMED
    path = socket_path(socket)
    return f"@{escape(socket.name[1:])}" if path is None else escape(path)


def inet_address(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port or '*'}"


def protocol(socket: InetSocket) -> str:
    """Name the IP protocol (the kernel's IPPROTO_*)."""
    return {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 136: "udplite"}.get(
        socket.protocol, str(socket.protocol)
    )


def file_kind(file: File) -> str:
    """Name the type of a file as CRIU's `fd_types` does."""
    match file:
        case OtherFile() | Notify():
            return member(file.type)
        case Pipe() | Memfd() | Fifo():
            return type(file).__name__.lower()
        case Terminal():
            return "tty"
        case RegularFile():
            return "reg"
        case UnixSocket():
            return "unixsk"
        case InetSocket():
            return "inetsk"
        case _:
            assert_never(file)


def holders(users: Iterable[User], comms: Mapping[Pid, str]) -> str:
    """Write who refers to a file, each task once: `python3(1000) fd 3 4, mapping; sleep(1004) cwd`."""
    in_order = sorted(users, key=lambda user: user.pid)
    return "; ".join(
        f"{comms.get(pid, '?')}({pid}) {_roles(list(found))}"
        for pid, found in groupby(in_order, key=lambda user: user.pid)
    )


def _roles(users: list[User]) -> str:
    return ", ".join(
        " ".join((role.value, *(str(user.number) for user in users if user.role is role and _numbered(role))))
        for role in Role
        if any(user.role is role for user in users)
    )


def _numbered(role: Role) -> bool:
    """Tell whether a role's number says something to people; a mapping's address does not."""
    return role in {Role.FD, Role.IN_FLIGHT}
