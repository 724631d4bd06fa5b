"""How the things of a dump are called in text for people: addresses, states, holders."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

from llmux.criu_images._counted import counted
from llmux.criu_images._enums import SocketState, SocketType, TaskState
from llmux.criu_images._inventory import socket_path
from llmux.criu_images._paths import escape
from llmux.criu_images._records import (
    BpfMap,
    Epoll,
    EventFd,
    Fifo,
    File,
    InetSocket,
    Memfd,
    NamespaceFile,
    NetlinkSocket,
    Notify,
    OtherFile,
    PacketSocket,
    Pid,
    PidFd,
    Pipe,
    RegularFile,
    SignalFd,
    Terminal,
    TimerFd,
    TunFile,
    UnixSocket,
)
from llmux.criu_images._users import Role, User

UNNAMED = "(unnamed)"


def ranges(numbers: Sequence[int]) -> str:
    """Write sorted numbers as `1000-1003 1007`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return " ".join("-".join(map(str, run)) for run in runs)


def human_size(size: int) -> str:
    """Write bytes as people read them, in powers of 1024: `17 bytes`, `1.5 MiB`; a negative number keeps its sign."""
    if abs(size) < 1024:
        return counted(size, "byte")
    units = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    power = min(len(units), (abs(size).bit_length() - 1) // 10)
    return f"{size / (1 << (10 * power)):.1f} {units[power - 1]}"


_STATES = {SocketState.ESTABLISHED: "ESTAB", SocketState.CLOSE: "UNCONN"}
"""Where ss(8) has a word of its own, it is used."""


def member(value: enum.Enum | int) -> str:
    """Name a number, or write it where it has no name."""
    return value.name.lower().replace("_", "-") if isinstance(value, enum.Enum) else str(value)


def task_state(value: TaskState | int) -> str:
    """Name a task's state for people: a zombie is in the images as dead (`dump_one_zombie` writes TASK_DEAD)."""
    return "zombie (dead)" if value is TaskState.DEAD else member(value)


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
        case _:
            return _KINDS[type(file)]


_KINDS: dict[type[File], str] = {
    RegularFile: "reg",
    UnixSocket: "unixsk",
    InetSocket: "inetsk",
    PacketSocket: "packetsk",
    NetlinkSocket: "netlinksk",
    Fifo: "fifo",
    Pipe: "pipe",
    Terminal: "tty",
    Memfd: "memfd",
    EventFd: "eventfd",
    Epoll: "eventpoll",
    SignalFd: "signalfd",
    TimerFd: "timerfd",
    TunFile: "tunf",
    BpfMap: "bpfmap",
    PidFd: "pidfd",
    NamespaceFile: "ns",
}


def holders(users: Sequence[User], comms: Mapping[Pid, str]) -> str:
    """Write who refers to a file, each task once: `python3(1000) fd 3 4, mapping; sleep(1004) cwd`."""
    if len(users) == 1:  # As with nearly all files of a large dump.
        only = users[0]
        number = f" {only.number}" if only.role in _NUMBERED else ""
        return f"{comms.get(only.pid, '?')}({only.pid}) {_ROLES[only.role]}{number}"
    by_task: dict[Pid, dict[Role, list[int]]] = {}
    for user in users:
        by_task.setdefault(user.pid, {}).setdefault(user.role, []).append(user.number)
    return "; ".join(f"{comms.get(pid, '?')}({pid}) {_roles(by_task[pid])}" for pid in sorted(by_task))


def _roles(numbers: dict[Role, list[int]]) -> str:
    in_order = sorted(numbers, key=_ORDER.index) if len(numbers) > 1 else numbers
    return ", ".join([_role(role, numbers[role]) for role in in_order])


_ORDER = list(Role)


def _role(role: Role, numbers: list[int]) -> str:
    name = _ROLES[role]
    return " ".join((name, *map(str, numbers))) if role in _NUMBERED else name


_ROLES = {role: role.value for role in Role}
_NUMBERED = {Role.FD, Role.IN_FLIGHT}
"""The roles whose number says something to people; a mapping's address does not."""


_ACCESS = {0: "O_RDONLY", 1: "O_WRONLY", 2: "O_RDWR"}
_OPEN_FLAGS = {
    0o2000: "O_APPEND",
    0o4000: "O_NONBLOCK",
    0o10000: "O_DSYNC",
    0o40000: "O_DIRECT",
    0o200000: "O_DIRECTORY",
    0o400000: "O_NOFOLLOW",
    0o1000000: "O_NOATIME",
    0o10000000: "O_PATH",
}
"""As open(2) of x86-64 has them; O_LARGEFILE, which every file of a 64-bit program has, is left out."""


def open_flags(flags: int) -> str:
    """Name the flags that a file was opened with: `O_WRONLY|O_APPEND`."""
    access = _ACCESS.get(flags & 3, "")
    return "|".join(filter(None, (access, *(name for bit, name in _OPEN_FLAGS.items() if flags & bit))))
