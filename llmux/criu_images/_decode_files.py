"""One `file_entry` to the record of its type.

A file of a type that this release does not know becomes an OtherFile that carries the type's number.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from llmux.criu_images._entry import Entry
from llmux.criu_images._enums import FileType, Shutdown, SocketState, SocketType, known
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._records import (
    Fifo,
    File,
    FileId,
    InetSocket,
    Memfd,
    Notify,
    OtherFile,
    Pipe,
    RegularFile,
    SocketInode,
    Terminal,
    UnixSocket,
    Watch,
)

# `uflags` of a Unix socket (sk-unix.c).
_USK_EXTERN = 1 << 0
_USK_CALLBACK = 1 << 2

_AF_INET, _AF_INET6 = 2, 10  # Linux's, on every architecture that CRIU supports.


def decode_file(entry: Entry) -> File:
    """Decode a `file_entry`; one of an unknown type becomes an OtherFile that carries its number."""
    file_type = known(FileType, entry.number("type"))
    file_id = FileId(entry.number("id"))
    if isinstance(file_type, FileType) and (decoder := _FILE_DECODERS.get(file_type)):
        name, decode = decoder
        return decode(entry.nested(name), file_id)
    return OtherFile(file_id, file_type)


def _regular_file(entry: Entry, file_id: FileId) -> RegularFile:
    name, external = entry.path("name"), entry.flag("ext")
    # CRIU takes the name from the kernel (`readlink` of /proc/PID/fd), which resolves all of it.
    if not external and (not name.startswith(b"/") or {b".", b".."} & set(name.split(b"/"))):
        raise entry.damaged("name", f"{escape(name)!r} is not an absolute path without '.' and '..'")
    words = entry.numbers("build_id")
    return RegularFile(
        id=file_id,
        name=name,
        flags=entry.number("flags"),
        pos=entry.number("pos"),
        size=entry.maybe_number("size"),
        mode=entry.maybe_number("mode"),
        build_id=b"".join(word.to_bytes(4, sys.byteorder) for word in words) or None,
        external=external,
    )


def _unix_socket(entry: Entry, file_id: FileId) -> UnixSocket:
    permissions = entry.maybe_nested("file_perms")
    user_flags = entry.number("uflags")
    peer = entry.number("peer")
    return UnixSocket(
        id=file_id,
        inode=SocketInode(entry.number("ino")),
        type=known(SocketType, entry.number("type")),
        state=known(SocketState, entry.number("state")),
        flags=entry.number("flags"),
        external=bool(user_flags & _USK_EXTERN),
        plugin=bool(user_flags & _USK_CALLBACK),
        backlog=entry.number("backlog"),
        peer=SocketInode(peer) if peer else None,
        name=_socket_name(entry.raw("name")),
        name_dir=entry.maybe_path("name_dir"),
        deleted=entry.flag("deleted"),
        mode=None if permissions is None else permissions.number("mode"),
        uid=None if permissions is None else permissions.number("uid"),
        gid=None if permissions is None else permissions.number("gid"),
        shutdown=_shutdown(entry),
    )


def _socket_name(name: bytes) -> RawPath:
    """Cut the name where the kernel does: a path at its first NUL, an abstract name not at all (unix(7))."""
    return RawPath(name if name.startswith(b"\0") else name.partition(b"\0")[0])


def _shutdown(entry: Entry) -> Shutdown:
    number = entry.maybe_number("shutdown") or 0
    try:
        return Shutdown(number)
    except ValueError:
        raise entry.damaged("shutdown", f"{number} is none of 0 to 3") from None


def _inet_socket(entry: Entry, file_id: FileId) -> InetSocket:
    options = entry.nested("opts")
    family = entry.number("family")
    return InetSocket(
        id=file_id,
        inode=SocketInode(entry.number("ino")),
        family=family,
        type=known(SocketType, entry.number("type")),
        protocol=entry.number("proto"),
        state=known(SocketState, entry.number("state")),
        source=_address(entry, family, "src_addr"),
        source_port=entry.number("src_port"),
        destination=_address(entry, family, "dst_addr"),
        destination_port=entry.number("dst_port"),
        backlog=entry.number("backlog"),
        v6only=entry.flag("v6only"),
        reuseaddr=options.flag("reuseaddr"),
        reuseport=options.flag("so_reuseport"),
    )


def _address(entry: Entry, family: int, name: str) -> str:
    """Write an address as inet_ntop(3) does: CRIU keeps network byte order in words of the dumping machine."""
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in entry.numbers(name))
    try:
        match family:
            case _ if family == _AF_INET:
                return str(IPv4Address(packed[:4]))
            case _ if family == _AF_INET6:
                return str(IPv6Address(packed))
            case _:
                return packed.hex()
    except ValueError:
        raise entry.damaged(name, f"{len(packed)} bytes are no address of family {family}") from None


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


_FILE_DECODERS: dict[FileType, tuple[str, Callable[[Entry, FileId], File]]] = {
    FileType.REG: ("reg", _regular_file),
    FileType.UNIXSK: ("usk", _unix_socket),
    FileType.INETSK: ("isk", _inet_socket),
    FileType.FIFO: ("fifo", _fifo),
    FileType.PIPE: ("pipe", _pipe),
    FileType.TTY: ("tty", _terminal),
    FileType.MEMFD: ("memfd", _memfd),
    FileType.INOTIFY: ("ify", _inotify),
    FileType.FANOTIFY: ("ffy", _fanotify),
}
"""The field of `file_entry` that holds each type, and what decodes it."""
