"""Records of sockets, and of what waits in them."""

from __future__ import annotations

from dataclasses import dataclass

from llmux.criu_images._enums import Shutdown, SocketState, SocketType
from llmux.criu_images._ids import FileId, NamespaceId, SocketInode
from llmux.criu_images._paths import RawPath
from llmux.criu_images._record import record


@dataclass(frozen=True, slots=True)
class QueuedPacket:
    """`sk_packet_entry`: one message in a socket's queue."""

    socket: FileId
    """The receiver."""
    length: int
    rights: tuple[FileId, ...]
    """Files in flight (SCM_RIGHTS)."""


@record
class UnixSocket:
    """`unix_sk_entry`."""

    id: FileId
    inode: SocketInode
    type: SocketType | int
    state: SocketState | int
    flags: int
    external: bool
    """USK_EXTERN in `uflags`: not a socket of the tree but the peer of one, outside the dump; nothing binds it."""
    plugin: bool
    """USK_CALLBACK: restored by a CRIU plugin."""
    backlog: int
    peer: SocketInode | None
    name: RawPath
    """Without CRIU's trailing NUL; an abstract name starts with NUL; unnamed is empty."""
    name_dir: RawPath | None
    """The directory that a relative `name` starts from."""
    deleted: bool
    mode: int | None
    uid: int | None
    gid: int | None
    shutdown: Shutdown
    namespace: NamespaceId | None = None

    @property
    def abstract(self) -> bool:
        return self.name.startswith(b"\0")

    @property
    def listening(self) -> bool:
        return self.state is SocketState.LISTEN and not self.external

    @property
    def binds(self) -> bool:
        """Whether a restore binds the name (`bind_unix_sk`).

        An accepted connection carries its listener's name and a connecting one may have its own; neither is bound.
        """
        connected = self.state is SocketState.ESTABLISHED and self.type is not SocketType.DGRAM
        return bool(self.name) and not (self.external or self.plugin or connected)


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """The parts of `sk_opts_entry` that ask something of the place of restore."""

    device: RawPath | None = None
    """SO_BINDTODEVICE: a network device of this name must be there (`restore_bound_dev`)."""
    mark: int | None = None
    """SO_MARK: setting it takes CAP_NET_ADMIN."""
    filter_length: int = 0
    """Instructions of a classic BPF filter on the socket (SO_ATTACH_FILTER)."""


@dataclass(frozen=True, slots=True)
class InetSocket:
    """`inet_sk_entry`."""

    id: FileId
    inode: SocketInode
    family: int
    """AF_INET or AF_INET6."""
    type: SocketType | int
    protocol: int
    state: SocketState | int
    source: str
    """Address in the text form of inet_ntop(3)."""
    source_port: int
    destination: str
    destination_port: int
    backlog: int
    v6only: bool
    reuseaddr: bool
    reuseport: bool
    freebind: bool = False
    """IP_FREEBIND: the source address need not be there to be bound."""
    interface: RawPath | None = None
    """The device whose index goes into a link-local address (`inet_bind`)."""
    shutdown: Shutdown = Shutdown.NONE
    namespace: NamespaceId | None = None
    options: SocketOptions = SocketOptions()

    @property
    def listening(self) -> bool:
        return self.state is SocketState.LISTEN


@dataclass(frozen=True, slots=True)
class PacketSocket:
    """`packet_sock_entry`: packet(7)."""

    id: FileId
    type: SocketType | int
    protocol: int
    """`ETH_P_*` in network byte order."""
    interface: int
    """Index of the network device it is bound to; 0 for all."""
    namespace: NamespaceId | None
    options: SocketOptions


@dataclass(frozen=True, slots=True)
class NetlinkSocket:
    """`netlink_sk_entry`: netlink(7)."""

    id: FileId
    inode: SocketInode
    protocol: int
    port: int
    """Its address; CRIU binds the same."""
    groups: tuple[int, ...]
    """Words of the bit mask of multicast groups."""
    namespace: NamespaceId | None
    options: SocketOptions


@dataclass(frozen=True, slots=True)
class TcpQueues:
    """`tcp_stream_entry`: how much waits in an established connection."""

    inode: SocketInode
    received: int
    unsent: int
    """Sent and not acknowledged, or not sent yet."""
