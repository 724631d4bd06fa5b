"""One `file_entry` to the record of its type.

A file of a type that this release does not know becomes an OtherFile that carries the type's number.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from llmux.criu_images._decode_sockets import (
    decode_inet_socket,
    decode_netlink_socket,
    decode_packet_socket,
    decode_unix_socket,
)
from llmux.criu_images._entry import Entry
from llmux.criu_images._enums import FileType, known
from llmux.criu_images._ids import FileId, NamespaceId, Pid
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._records import (
    BpfMap,
    Epoll,
    EpollTarget,
    EventFd,
    Fifo,
    File,
    Memfd,
    NamespaceFile,
    Notify,
    OtherFile,
    PidFd,
    Pipe,
    RegularFile,
    SignalFd,
    Terminal,
    TimerFd,
    TunFile,
    Watch,
)

_SECOND = 10**9
_SIGNALS = 64
_DOTS = {b".", b".."}


def decode_file(entry: Entry) -> File:
    """Decode a `file_entry`.

    One of an unknown type becomes an OtherFile that carries its number; so does one of a type whose message the installed
    pycriu is too old to know.
    """
    number = entry.number("type")
    file_id = FileId(entry.number("id"))
    if decoder := _BY_NUMBER.get(number):
        name, decode, essential = decoder
        if essential:
            return decode(entry.nested(name), file_id)
        if (found := entry.maybe_nested(name)) is not None:
            return decode(found, file_id)
    return OtherFile(file_id, known(FileType, number))


def _regular_file(entry: Entry, file_id: FileId) -> RegularFile:
    name, external = entry.path("name"), entry.flag("ext")
    # CRIU takes the name from the kernel (`readlink` of /proc/PID/fd), which resolves all of it.
    if not external and (
        not name.startswith(b"/") or (name.find(b"/.") >= 0 and _DOTS & set(name.split(b"/")))
    ):
        raise entry.damaged("name", f"{escape(name)!r} is not an absolute path without '.' and '..'")
    words = entry.numbers("build_id")
    return RegularFile(  # by position: Python takes twice as long with names
        file_id,
        name,
        entry.number("flags"),
        entry.number("pos"),
        entry.maybe_number("size"),
        entry.maybe_number("mode"),
        b"".join(word.to_bytes(4, sys.byteorder) for word in words) if words else None,
        external,
    )


def _fifo(entry: Entry, file_id: FileId) -> Fifo:
    node = entry.maybe_number("regf_id")
    return Fifo(file_id, entry.number("pipe_id"), file_id if node is None else FileId(node))


def _pipe(entry: Entry, file_id: FileId) -> Pipe:
    return Pipe(file_id, entry.number("pipe_id"), entry.number("flags"))


def _terminal(entry: Entry, file_id: FileId) -> Terminal:
    node = entry.maybe_number("regf_id")
    return Terminal(file_id, entry.number("tty_info_id"), None if node is None else FileId(node))


def _memfd(entry: Entry, file_id: FileId) -> Memfd:
    return Memfd(file_id, entry.number("inode_id"), RawPath(b""), None)


def _inotify(entry: Entry, file_id: FileId) -> Notify:
    return Notify(file_id, FileType.INOTIFY, tuple(_inotify_watch(watch) for watch in entry.each("wd")))


def _inotify_watch(entry: Entry) -> Watch:
    return Watch(
        descriptor=entry.number("wd"),
        inode=entry.number("i_ino"),
        device=entry.number("s_dev"),
        mask=entry.number("mask"),
        path=_absolute(entry.nested("f_handle").maybe_path("path")),
    )


def _fanotify(entry: Entry, file_id: FileId) -> Notify:
    return Notify(file_id, FileType.FANOTIFY, tuple(_fanotify_mark(mark) for mark in entry.each("mark")))


def _fanotify_mark(entry: Entry) -> Watch:
    inode, mount = entry.maybe_nested("ie"), entry.maybe_nested("me")
    holder = inode.nested("f_handle") if inode is not None else mount
    return Watch(
        descriptor=0,
        inode=0 if inode is None else inode.number("i_ino"),
        device=entry.number("s_dev"),
        mask=entry.number("mask"),
        path=None if holder is None else _absolute(holder.maybe_path("path")),
    )


def _absolute(path: RawPath | None) -> RawPath | None:
    """Put back the leading slash that CRIU leaves out of a mount mark's path."""
    return None if path is None else RawPath(b"/" + path.lstrip(b"/"))


def _eventfd(entry: Entry, file_id: FileId) -> EventFd:
    return EventFd(file_id, entry.number("flags"), entry.number("counter"))


def _epoll(entry: Entry, file_id: FileId) -> Epoll:
    targets = (
        EpollTarget(target.number("tfd"), target.number("events"), target.number("data"))
        for target in entry.each("tfd")
    )
    return Epoll(file_id, entry.number("flags"), tuple(targets))


def _signalfd(entry: Entry, file_id: FileId) -> SignalFd:
    mask = entry.number("sigmask")
    signals = tuple(number + 1 for number in range(_SIGNALS) if mask >> number & 1)
    return SignalFd(file_id, entry.number("flags"), signals)


def _timerfd(entry: Entry, file_id: FileId) -> TimerFd:
    return TimerFd(
        file_id,
        clock=entry.number("clockid"),
        ticks=entry.number("ticks"),
        remaining=entry.number("vsec") * _SECOND + entry.number("vnsec"),
        interval=entry.number("isec") * _SECOND + entry.number("insec"),
    )


def _tun(entry: Entry, file_id: FileId) -> TunFile:
    namespace = entry.maybe_number("ns_id")
    return TunFile(
        file_id,
        regular_file=file_id,
        device=entry.maybe_path("netdev"),
        namespace=NamespaceId(namespace) if namespace else None,
    )


def _bpf_map(entry: Entry, file_id: FileId) -> BpfMap:
    return BpfMap(
        file_id,
        map_id=entry.number("map_id"),
        name=escape(entry.raw("map_name")),
        type=entry.number("map_type"),
        key_size=entry.number("key_size"),
        value_size=entry.number("value_size"),
        max_entries=entry.number("max_entries"),
        frozen=entry.flag("frozen"),
    )


def _pidfd(entry: Entry, file_id: FileId) -> PidFd:
    pid = entry.number("nspid")
    return PidFd(file_id, None if pid == -1 else Pid(pid))


def _namespace(entry: Entry, file_id: FileId) -> NamespaceFile:
    return NamespaceFile(file_id, NamespaceId(entry.number("ns_id")), entry.number("ns_cflag"))


_FILE_DECODERS: dict[FileType, tuple[str, Callable[[Entry, FileId], File]]] = {
    FileType.REG: ("reg", _regular_file),
    FileType.UNIXSK: ("usk", decode_unix_socket),
    FileType.INETSK: ("isk", decode_inet_socket),
    FileType.PACKETSK: ("psk", decode_packet_socket),
    FileType.NETLINKSK: ("nlsk", decode_netlink_socket),
    FileType.FIFO: ("fifo", _fifo),
    FileType.PIPE: ("pipe", _pipe),
    FileType.TTY: ("tty", _terminal),
    FileType.MEMFD: ("memfd", _memfd),
    FileType.INOTIFY: ("ify", _inotify),
    FileType.FANOTIFY: ("ffy", _fanotify),
    FileType.EVENTFD: ("efd", _eventfd),
    FileType.EVENTPOLL: ("epfd", _epoll),
    FileType.SIGNALFD: ("sgfd", _signalfd),
    FileType.TIMERFD: ("tfd", _timerfd),
    FileType.TUNF: ("tunf", _tun),
    FileType.BPFMAP: ("bpf", _bpf_map),
    FileType.PIDFD: ("pidfd", _pidfd),
    FileType.NS: ("nsf", _namespace),
}
"""The field of `file_entry` that holds each type, and what decodes it."""

_ESSENTIAL = frozenset(
    {
        FileType.REG,
        FileType.UNIXSK,
        FileType.INETSK,
        FileType.FIFO,
        FileType.PIPE,
        FileType.TTY,
        FileType.MEMFD,
        FileType.INOTIFY,
        FileType.FANOTIFY,
    }
)
"""The types whose message every pycriu knows: without it, the entry is damaged."""

_BY_NUMBER = {
    file_type.value: (name, decode, file_type in _ESSENTIAL)
    for file_type, (name, decode) in _FILE_DECODERS.items()
}
