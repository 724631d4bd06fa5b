"""The sockets of a graph: listeners with what they accepted, pairs, destinations, and peers outside the dump."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TypeAlias

from llmux.criu_images import _words as words
from llmux.criu_images._counted import counted
from llmux.criu_images._enums import SocketState
from llmux.criu_images._graph_model import LinkKind, Part, Place, Sketch, Thing
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import FileId, InetSocket, NetlinkSocket, PacketSocket, UnixSocket

_PART = Part.SOCKETS


def add_sockets(sketch: Sketch) -> None:
    _add_unix(sketch)
    _add_inet(sketch)
    for file in sketch.dump.files.values():
        if isinstance(file, NetlinkSocket | PacketSocket):
            what = f"{words.file_kind(file).removesuffix('sk')} protocol {file.protocol}"
            sketch.add_held(
                Thing(_key(file.id), _PART, what, (f"file {file.id:#x}",)), sketch.holders(file.id)
            )


def _key(file: FileId) -> str:
    return f"file {file}"


def _add_unix(sketch: Sketch) -> None:
    sockets = [file for file in sketch.dump.files.values() if isinstance(file, UnixSocket)]
    waiting: defaultdict[FileId, list[int]] = defaultdict(list)
    for packet in sketch.dump.packets:
        waiting[packet.socket].append(packet.length)
    listeners: dict[tuple[RawPath, RawPath | None], str] = {}
    for socket in sorted(
        sockets, key=lambda socket: not socket.listening
    ):  # An accepted one goes under its listener.
        listener = None if _listens_or_binds(socket) else listeners.get((socket.name, socket.name_dir))
        _add_unix_row(sketch, socket, waiting[socket.id], listener)
        if socket.listening and socket.name:
            listeners[socket.name, socket.name_dir] = _key(socket.id)
    _link_peers(sketch, sockets)


def _listens_or_binds(socket: UnixSocket) -> bool:
    return socket.listening or socket.binds or socket.external


def _add_unix_row(sketch: Sketch, socket: UnixSocket, waiting: list[int], listener: str | None) -> None:
    details = [f"inode {socket.inode}, {words.socket_state(socket.state)}", words.unix_address(socket)]
    if waiting:
        details.append(f"{counted(len(waiting), 'message')} not read yet, {words.human_size(sum(waiting))}")
    if listener is not None:
        details.append("accepted: it has its listener's name")
    text = _unix_text(socket, accepted=listener is not None)
    accepted = f"unix {words.socket_type(socket.type)} accepted"
    thing = Thing(_key(socket.id), _PART, text, tuple(details), accepted)
    if socket.external:
        sketch.add(thing, Place.OUTSIDE)
    else:
        sketch.add_held(thing, sketch.holders(socket.id), listener)


def _unix_text(socket: UnixSocket, *, accepted: bool) -> str:
    kind = f"unix {words.socket_type(socket.type)}"
    if accepted:
        return f"{kind} accepted at {words.unix_address(socket)}"
    state = _state(socket.state, connects=socket.peer is not None)
    name = words.unix_address(socket) if socket.name else ""
    deleted = "(deleted)" if socket.deleted else ""
    return " ".join(filter(None, (kind, state, name, deleted)))


def _state(state: SocketState | int, *, connects: bool) -> str:
    """Leave out what the link says."""
    return "" if connects and state is SocketState.ESTABLISHED else words.socket_state(state)


def _link_peers(sketch: Sketch, sockets: list[UnixSocket]) -> None:
    by_inode = {socket.inode: socket for socket in sockets}
    for socket in sockets:
        if socket.peer is None:
            continue
        peer = by_inode.get(socket.peer)
        if peer is None:
            missing = Thing(f"socket {socket.peer}", _PART, f"unix socket, inode {socket.peer}")
            sketch.add(missing, Place.OUTSIDE)
            sketch.link(_key(socket.id), missing.key, _PART, LinkKind.SENDS)
        elif peer.peer != socket.inode:
            sketch.link(_key(socket.id), _key(peer.id), _PART, LinkKind.SENDS)
        elif socket.inode <= peer.inode:
            sketch.link(_key(socket.id), _key(peer.id), _PART, LinkKind.PEER)


_Address: TypeAlias = tuple[str, int]
_Bound: TypeAlias = tuple[int, str, int]
_Ends: TypeAlias = tuple[int, _Address, _Address]


def _source(socket: InetSocket) -> _Address:
    return socket.source, socket.source_port


def _destination(socket: InetSocket) -> _Address:
    return socket.destination, socket.destination_port


def _ends(socket: InetSocket) -> _Ends:
    return socket.protocol, _source(socket), _destination(socket)


@dataclass(frozen=True, slots=True)
class _Inet:
    """The inet sockets of a dump, by their addresses."""

    connected: dict[_Ends, InetSocket]
    bound: dict[_Bound, InetSocket]

    def at(self, protocol: int, address: _Address) -> InetSocket | None:
        """Find who is bound to an address, or to every address."""
        host, port = address
        found = (self.bound.get((protocol, each, port)) for each in (host, *_ANY))
        return next((socket for socket in found if socket is not None), None)

    def listener(self, socket: InetSocket) -> InetSocket | None:
        """Find whom a connection came in by."""
        found = self.at(socket.protocol, _source(socket)) if socket.destination_port else None
        return found if found is not None and found.listening else None


_ANY = ("0.0.0.0", "::")  # noqa: S104 - looked for, not bound


def _add_inet(sketch: Sketch) -> None:
    sockets = [file for file in sketch.dump.files.values() if isinstance(file, InetSocket)]
    inet = _Inet(
        {_ends(socket): socket for socket in sockets if socket.destination_port},
        {(socket.protocol, *_source(socket)): socket for socket in sockets if not socket.destination_port},
    )
    for socket in sorted(sockets, key=lambda socket: not socket.listening):
        _add_inet_row(sketch, socket, inet.listener(socket))
    outside: defaultdict[str, dict[int, None]] = defaultdict(dict)
    for socket in sockets:
        if socket.destination_port and not _link_inet(sketch, socket, inet):
            outside[socket.destination][socket.destination_port] = None
    for host, ports in outside.items():
        shown = (
            words.inet_address(host, next(iter(ports))) if len(ports) == 1 else f"{host}, {len(ports)} ports"
        )
        sketch.add(Thing(f"host {host}", _PART, shown, (_ports(ports),)), Place.OUTSIDE)


def _add_inet_row(sketch: Sketch, socket: InetSocket, listener: InetSocket | None) -> None:
    text = _inet_text(socket, accepted=listener is not None)
    details = (f"inode {socket.inode}, {words.socket_state(socket.state)}", _addresses(socket))
    thing = Thing(_key(socket.id), _PART, text, details, under_listener=text)
    sketch.add_held(thing, sketch.holders(socket.id), None if listener is None else _key(listener.id))


def _ports(ports: dict[int, None]) -> str:
    numbers = words.ranges(sorted(ports))
    return f"ports {numbers}" if len(numbers) <= _LONGEST_PORTS else f"ports {numbers[:_LONGEST_PORTS]}…"


_LONGEST_PORTS = 400


def _inet_text(socket: InetSocket, *, accepted: bool) -> str:
    kind = words.protocol(socket)
    if accepted:
        return f"{kind} accepted from {words.inet_address(*_destination(socket))}"
    state = _state(socket.state, connects=bool(socket.destination_port))
    return " ".join(filter(None, (kind, state, _addresses(socket))))


def _addresses(socket: InetSocket) -> str:
    source = words.inet_address(*_source(socket))
    return f"{source} to {words.inet_address(*_destination(socket))}" if socket.destination_port else source


def _link_inet(sketch: Sketch, socket: InetSocket, inet: _Inet) -> bool:
    """Link a connection with its other end, a datagram socket with its destination; tell whether that is in the dump."""
    own, (protocol, source, destination) = _key(socket.id), _ends(socket)
    peer = inet.connected.get((protocol, destination, source))
    if peer is not None:
        if inet.connected[_ends(socket)] is socket and socket.id <= peer.id:
            sketch.link(own, _key(peer.id), _PART, LinkKind.PEER)
        return True
    target = inet.at(protocol, destination)
    if target is not None and not target.listening:
        sketch.link(own, _key(target.id), _PART, LinkKind.SENDS)
        return True
    sketch.link(own, f"host {socket.destination}", _PART, LinkKind.PEER)
    return False
