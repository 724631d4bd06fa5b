"""The sockets of `files.img` to their records."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address, IPv6Address

from llmux.criu_images._entry import Entry
from llmux.criu_images._enums import Shutdown, SocketState, SocketType, known
from llmux.criu_images._ids import FileId, NamespaceId, SocketInode
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import InetSocket, NetlinkSocket, PacketSocket, SocketOptions, UnixSocket

# `uflags` of a Unix socket (sk-unix.c).
_USK_EXTERN = 1 << 0
_USK_CALLBACK = 1 << 2

_AF_INET, _AF_INET6 = 2, 10  # Linux's, on every architecture that CRIU supports.


def decode_unix_socket(entry: Entry, file_id: FileId) -> UnixSocket:
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
        namespace=_namespace(entry),
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


def decode_inet_socket(entry: Entry, file_id: FileId) -> InetSocket:
    options, ip_options = entry.nested("opts"), entry.maybe_nested("ip_opts")
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
        freebind=ip_options is not None and ip_options.flag("freebind"),
        interface=entry.maybe_path("ifname"),
        shutdown=_shutdown(entry),
        namespace=_namespace(entry),
        options=_options(options),
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


def decode_packet_socket(entry: Entry, file_id: FileId) -> PacketSocket:
    return PacketSocket(
        id=file_id,
        type=known(SocketType, entry.number("type")),
        protocol=entry.number("protocol"),
        interface=entry.number("ifindex"),
        namespace=_namespace(entry),
        options=_options(entry.nested("opts")),
    )


def decode_netlink_socket(entry: Entry, file_id: FileId) -> NetlinkSocket:
    return NetlinkSocket(
        id=file_id,
        inode=SocketInode(entry.number("ino")),
        protocol=entry.number("protocol"),
        port=entry.number("portid"),
        groups=entry.numbers("groups"),
        namespace=_namespace(entry),
        options=_options(entry.nested("opts")),
    )


def _namespace(entry: Entry) -> NamespaceId | None:
    number = entry.maybe_number("ns_id")
    return NamespaceId(number) if number else None


def _options(entry: Entry) -> SocketOptions:
    device = entry.maybe_path("so_bound_dev")
    return SocketOptions(
        device=device or None,
        mark=entry.maybe_number("so_mark") or None,
        filter_length=len(entry.numbers("so_filter")),
    )
