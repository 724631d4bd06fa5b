"""What a file holds that a restore brings back from the images, in a few words for people."""

from __future__ import annotations

from collections.abc import Mapping

from llmux.criu_images._enums import NamespaceKind
from llmux.criu_images._ids import FileId
from llmux.criu_images._paths import escape
from llmux.criu_images._records import (
    BpfMap,
    Epoll,
    EpollTarget,
    EventFd,
    File,
    Memfd,
    NamespaceFile,
    NetlinkSocket,
    Notify,
    PacketSocket,
    PidFd,
    Pipe,
    RegularFile,
    SignalFd,
    Terminal,
    TimerFd,
    TunFile,
    UnixSocket,
)

_SECOND = 10**9

# Numbers of Linux on every architecture that CRIU supports: netlink(7), clock_gettime(2), namespaces(7).
_NETLINK = {0: "route", 4: "sock_diag", 9: "audit", 12: "netfilter", 15: "kobject_uevent", 16: "generic"}
_CLOCKS = {0: "realtime", 1: "monotonic", 7: "boottime", 8: "realtime alarm", 9: "boottime alarm"}
_CLONE = {
    0x80: NamespaceKind.TIME,
    0x00020000: NamespaceKind.MNT,
    0x02000000: NamespaceKind.CGROUP,
    0x04000000: NamespaceKind.UTS,
    0x08000000: NamespaceKind.IPC,
    0x10000000: NamespaceKind.USER,
    0x20000000: NamespaceKind.PID,
    0x40000000: NamespaceKind.NET,
}


def details_of(file: File, files: Mapping[FileId, File]) -> str:
    """Describe a file of a dump with these `files` beyond its type; empty where its type or its path says it all."""
    text = ""
    match file:
        case Epoll() if file.targets:
            text = f"waits for {', '.join(_target(target, files) for target in file.targets)}"
        case EventFd() | SignalFd() | TimerFd() | PidFd() | NamespaceFile():
            text = _anonymous(file)
        case Memfd():
            text = ", ".join(_memfd(file))
        case NetlinkSocket() | PacketSocket() | TunFile():
            text = _network(file)
        case Pipe():
            text = f"{file.pipe_id:#x}"
        case Terminal():
            text = _terminal(file)
        case BpfMap():
            sizes = f"{file.max_entries} of {file.key_size} -> {file.value_size} bytes"
            text = f"{file.name}, type {file.type}, {sizes}{', frozen' if file.frozen else ''}"
        case Notify():
            text = ", ".join(
                f"inode {watch.inode}" if watch.path is None else escape(watch.path) for watch in file.watches
            )
        case _:
            pass
    return text


def _target(target: EpollTarget, files: Mapping[FileId, File]) -> str:
    file = None if target.file is None else files.get(target.file)
    match file:
        case None:
            return f"fd {target.fd}"
        case RegularFile() | UnixSocket() if file.name:
            return f"fd {target.fd} ({escape(file.name)})"
        case _:
            return f"fd {target.fd} (file {file.id:#x})"


def _anonymous(file: EventFd | SignalFd | TimerFd | PidFd | NamespaceFile) -> str:
    match file:
        case EventFd():
            return f"counter {file.counter}"
        case SignalFd():
            return f"signals {' '.join(map(str, file.signals))}"
        case TimerFd():
            return _timer(file)
        case PidFd():
            return "of a process that has ended" if file.pid is None else f"of process {file.pid}"
        case NamespaceFile():
            kind = _CLONE.get(file.clone_flag)
            return f"{file.clone_flag:#x}" if kind is None else kind.value


def _timer(file: TimerFd) -> str:
    clock = _CLOCKS.get(file.clock, f"clock {file.clock}")
    if not (file.remaining or file.interval):
        return f"{clock}, not set"
    every = f", then every {file.interval / _SECOND:g} s" if file.interval else ""
    return f"{clock}, in {file.remaining / _SECOND:g} s{every}"


def _memfd(file: Memfd) -> list[str]:
    seals = " ".join(seal.name.lower().replace("_", "-") for seal in file.seals)
    pages = "" if file.huge_page is None else f"pages of {file.huge_page} bytes"
    return [text for text in (escape(file.name), f"sealed {seals}" if seals else "", pages) if text]


def _network(file: NetlinkSocket | PacketSocket | TunFile) -> str:
    match file:
        case NetlinkSocket():
            return f"{netlink_protocol(file)}, port {file.port}"
        case PacketSocket():
            where = f"device {file.interface}" if file.interface else "all devices"
            return f"protocol {file.protocol:#06x}, {where}"
        case TunFile():
            return "" if file.device is None else f"device {escape(file.device)}"


def netlink_protocol(file: NetlinkSocket) -> str:
    """Name the part of the kernel that a netlink socket talks to."""
    return _NETLINK.get(file.protocol, f"protocol {file.protocol}")


def _terminal(file: Terminal) -> str:
    found = file.terminal
    if found is None or found.index is None:
        return ""
    session = f", controls session {found.sid}" if found.sid else ""
    return f"{'master of ' if found.master else ''}/dev/pts/{found.index}{session}"
