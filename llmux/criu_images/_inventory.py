"""From records to references: each path, port and id that a restore will ask for, who refers to it, and how.

The way in is `take_inventory(dump)`. Everything downstream (report, manifest, plan) works from its result, so what a restore
demands is decided here, once.
"""

from __future__ import annotations

import enum
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from llmux.criu_images._details import details_of
from llmux.criu_images._enums import NamespaceKind, RemapType, SocketType
from llmux.criu_images._needs import (
    Caution,
    HostDemands,
    Need,
    OwnNamespace,
    connected,
    find_cautions,
    find_needs,
    host_demands,
    own_namespaces,
)
from llmux.criu_images._paths import RawPath
from llmux.criu_images._record import record
from llmux.criu_images._records import (
    Dump,
    Fifo,
    File,
    FileId,
    FileLock,
    InetSocket,
    Notify,
    Pid,
    RegularFile,
    Remap,
    UnixSocket,
    Watch,
)
from llmux.criu_images._users import User, Users, users_of_files


class PathKind(enum.Enum):
    """What a restore needs at a path, and who makes it."""

    REGULAR = "regular file"
    """Must exist with the recorded size, mode and build-id (`open_path`, `validate_file`)."""
    DIRECTORY = "directory"
    """Opened as a file, a cwd, a root or a relative socket's `name_dir`; must exist, with its mode where one is recorded."""
    DEVICE = "device node"
    """Must exist; never created by us."""
    FIFO = "fifo"
    """Must exist as a FIFO; its data is in the images."""
    SYMLINK = "symbolic link"
    """Opened itself (O_PATH|O_NOFOLLOW); must exist."""
    OTHER = "other node"
    """A socket's node opened as a file, or a kind this release does not know; must exist, never created by us."""
    SOCKET = "socket"
    """Its parent directory must exist and no non-socket may be at the path; CRIU binds it itself (`bind_unix_sk`)."""
    DELETED_SOCKET = "deleted socket"
    """Bound and unlinked again by CRIU, which makes its parents for that and parks what is at the path (`bind_on_deleted`)."""
    EXTERNAL_SOCKET = "socket outside the dump"
    """A peer that the dump does not hold: a live socket must be bound there (`--ext-unix-sk`)."""
    LINK_REMAP = "link remap"
    """`link_remap.N`: must exist, in its hard-link group; consumed by a successful restore. Its size and mode are those
    recorded for the lost name."""
    LINKED_NAME = "name restored by link"
    """The lost name of a link remap: CRIU links it for a moment, so its parent must exist and the name be free."""
    GHOST_NAME = "ghost name"
    """The lost name of a ghost: its parent (or nearest ancestor) must exist; never created by us."""
    WATCHED = "watched path"
    """Must exist for inotify and fanotify."""
    PROC = "proc file"
    """Below /proc or /sys: never created; a dead /proc/PID needs that PID."""

    __hash__ = object.__hash__  # That of Enum is a function of Python; there is a key for each path.


@record
class PathReference:
    """One path that a restore asks for."""

    path: RawPath
    """Absolute, in the dumped tree's mount namespace."""
    kind: PathKind
    users: tuple[User, ...]
    size: int | None = None
    """The size that restore demands, in bytes; None where it demands none."""
    mode: int | None = None
    """The st_mode that restore demands."""
    build_id: bytes | None = None
    flags: int = 0
    """The open flags of its first entry."""
    file: FileId | None = None
    remap: Remap | None = None


@record
class SocketReference:
    """One Unix socket, its holders and its peer."""

    socket: UnixSocket
    bind_path: RawPath | None
    """The absolute path that a restore binds, if only for a moment (`socket.deleted`); None for unnamed, abstract and external
    sockets, and for accepted or connected ones whose name is their listener's."""
    peer: UnixSocket | None
    users: tuple[User, ...]
    queued_bytes: int
    queued_packets: int


@dataclass(frozen=True, slots=True)
class PortReference:
    """One inet socket."""

    socket: InetSocket
    users: tuple[User, ...]


@dataclass(frozen=True, slots=True)
class FileReference:
    """A file that needs no path, Unix socket or port."""

    file: File
    users: tuple[User, ...]
    details: str = ""
    """What is in it that the images bring back, in words."""


@dataclass(frozen=True, slots=True)
class LockReference:
    """A lock on a file that has a name at the restore."""

    lock: FileLock
    path: RawPath


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that a restore of one dump will ask for, each list in a stable order."""

    paths: tuple[PathReference, ...]
    """By path; one path may appear with more than one kind."""
    sockets: tuple[SocketReference, ...]
    ports: tuple[PortReference, ...]
    """Listening or bound: the port must be free."""
    connections: tuple[PortReference, ...]
    """Neither listening nor merely bound."""
    others: tuple[FileReference, ...]
    ids: tuple[Pid, ...]
    """Every PID, TID, PGID and SID that must be free, sorted; none where the dump owns its PID namespace."""
    needs: tuple[Need, ...]
    cautions: tuple[Caution, ...] = ()
    """What CRIU does not bring back as it was."""
    namespaces: tuple[OwnNamespace, ...] = ()
    """Those that the dump owns; all others are those of whoever restores."""
    host: HostDemands = field(default_factory=HostDemands)
    threads: tuple[Pid, ...] = ()
    """Those of `ids` that CRIU makes as threads, sorted."""
    locks: tuple[LockReference, ...] = ()


def take_inventory(dump: Dump) -> Inventory:
    """Work out what a restore of `dump` will ask for."""
    users = users_of_files(dump)
    inet = [
        PortReference(file, users.get(file.id, ()))
        for file in dump.files.values()
        if isinstance(file, InetSocket)
    ]
    return Inventory(
        paths=_merged(_path_references(dump, users)),
        sockets=tuple(_socket_references(dump, users)),
        ports=tuple(port for port in inet if _binds_port(port.socket)),
        connections=tuple(port for port in inet if connected(port.socket)),
        others=tuple(_other_references(dump, users)),
        ids=_ids(dump),
        needs=tuple(find_needs(dump, users)),
        cautions=tuple(find_cautions(dump)),
        namespaces=own_namespaces(dump),
        host=host_demands(dump),
        threads=_threads(dump),
        locks=tuple(_lock_references(dump)),
    )


def socket_path(socket: UnixSocket) -> RawPath | None:
    """Return the absolute path of a socket's name; None for an unnamed or abstract one.

    A name is whatever bind(2) was given, `./name` or `//dir//name` too. A `..` stays: what it means is up to the file system.
    """
    if not socket.name or socket.abstract:
        return None
    directory = b"" if socket.name.startswith(b"/") else socket.name_dir or b""
    parts = (directory + b"/" + socket.name).split(b"/")
    return RawPath(b"".join(b"/" + part for part in parts if part not in {b"", b"."}))


def _merged(references: Iterable[PathReference]) -> tuple[PathReference, ...]:
    """Make one reference of all those to the same path and kind; what any of them demands is demanded."""
    merged: dict[tuple[RawPath, PathKind], PathReference] = {}
    for reference in references:
        key = (reference.path, reference.kind)
        first = merged.get(key)
        merged[key] = reference if first is None else _joined(first, reference)
    order = {kind: kind.value for kind in PathKind}
    return tuple(sorted(merged.values(), key=lambda reference: (reference.path, order[reference.kind])))


def _joined(first: PathReference, second: PathReference) -> PathReference:
    return replace(
        first,
        users=tuple(dict.fromkeys((*first.users, *second.users))),
        size=second.size if first.size is None else first.size,
        mode=second.mode if first.mode is None else first.mode,
        build_id=first.build_id or second.build_id,
    )


def _path_references(dump: Dump, users: Users) -> Iterator[PathReference]:
    remaps = {remap.original: remap for remap in dump.remaps}
    targets = {FileId(remap.remap_id): remap for remap in dump.remaps if remap.type is RemapType.LINKED}
    for file in dump.files.values():
        held_by = users.get(file.id, ())
        match file:
            case RegularFile(external=False):
                target = targets.get(file.id)
                yield (
                    _file_reference(file, held_by, remaps.get(file.id))
                    if target is None
                    else _remap_reference(file, held_by, target, dump)
                )
            case UnixSocket():
                yield from _socket_paths(file, held_by)
            case Notify():
                yield from (
                    PathReference(watch.path, PathKind.WATCHED, held_by, file=file.id)
                    for watch in file.watches
                    if watch.path is not None and not _watches_ghost(watch, dump)
                )
            case _:
                pass


def _file_reference(file: RegularFile, users: tuple[User, ...], remap: Remap | None) -> PathReference:
    return PathReference(
        file.name, _kind(file, remap), users, file.size, file.mode, file.build_id, file.flags, file.id, remap
    )


def _remap_reference(file: RegularFile, users: tuple[User, ...], remap: Remap, dump: Dump) -> PathReference:
    """Refer to a `link_remap.N`, which restores what was open under the lost name and is checked as that."""
    lost = dump.files[remap.original]
    reference = PathReference(file.name, PathKind.LINK_REMAP, users, file=file.id, remap=remap)
    return replace(reference, size=lost.size, mode=lost.mode) if isinstance(lost, RegularFile) else reference


def _kind(file: RegularFile, remap: Remap | None) -> PathKind:
    if remap is not None and remap.type is RemapType.LINKED:
        return PathKind.LINKED_NAME
    if remap is not None and remap.type is RemapType.GHOST:
        return PathKind.GHOST_NAME
    if file.name.startswith((b"/proc/", b"/sys/")):
        return PathKind.PROC
    # An entry without a mode is of an old CRIU; what it names is most often a regular file.
    return _BY_FORMAT.get(stat.S_IFMT(file.mode or stat.S_IFREG), PathKind.OTHER)


_BY_FORMAT = {
    stat.S_IFREG: PathKind.REGULAR,
    stat.S_IFDIR: PathKind.DIRECTORY,
    stat.S_IFIFO: PathKind.FIFO,
    stat.S_IFLNK: PathKind.SYMLINK,
    stat.S_IFCHR: PathKind.DEVICE,
    stat.S_IFBLK: PathKind.DEVICE,
}


def _socket_paths(socket: UnixSocket, users: tuple[User, ...]) -> Iterator[PathReference]:
    path = socket_path(socket)
    if path is None or not (socket.binds or socket.external):
        return
    kind = PathKind.EXTERNAL_SOCKET if socket.external else PathKind.SOCKET
    if socket.deleted:
        kind = PathKind.DELETED_SOCKET
    yield PathReference(path, kind, users, mode=socket.mode, file=socket.id)
    if socket.name_dir is not None:
        yield PathReference(socket.name_dir, PathKind.DIRECTORY, users, file=socket.id)


def _watches_ghost(watch: Watch, dump: Dump) -> bool:
    """Tell whether a watched path is a ghost's: then the ghost is watched (`lookup_ghost_remap`)."""
    return any(ghost.device == watch.device and ghost.inode == watch.inode for ghost in dump.ghosts.values())


def _socket_references(dump: Dump, users: Users) -> Iterator[SocketReference]:
    sockets = [file for file in dump.files.values() if isinstance(file, UnixSocket)]
    by_inode = {socket.inode: socket for socket in sockets}
    queues: defaultdict[FileId, list[int]] = defaultdict(list)
    for packet in dump.packets:
        queues[packet.socket].append(packet.length)
    for socket in sockets:
        yield SocketReference(
            socket=socket,
            bind_path=socket_path(socket) if socket.binds else None,
            peer=None if socket.peer is None else by_inode.get(socket.peer),
            users=users.get(socket.id, ()),
            queued_bytes=sum(queues[socket.id]),
            queued_packets=len(queues[socket.id]),
        )


def _binds_port(socket: InetSocket) -> bool:
    """Tell whether a restore binds the port; a raw socket's is its protocol (`inet_create`)."""
    return socket.source_port != 0 and socket.type is not SocketType.RAW and not connected(socket)


def _other_references(dump: Dump, users: Users) -> Iterator[FileReference]:
    for file in dump.files.values():
        match file:
            case RegularFile(external=False) | UnixSocket() | Fifo():
                pass
            case InetSocket() if connected(file) or _binds_port(file):
                pass
            case _:
                yield FileReference(file, users.get(file.id, ()), details_of(file, dump.files))


def _lock_references(dump: Dump) -> Iterator[LockReference]:
    """Find the file of each lock by its holder's descriptor, as `restore_file_lock` does; a ghost's lock has no rivals."""
    files = {(task.pid, item.fd): item.file for task in dump.tasks for item in task.descriptors}
    remaps = {remap.original: remap for remap in dump.remaps}
    for lock in dump.locks:
        number = files.get((lock.pid, lock.fd))
        remap = None if number is None else remaps.get(number)
        if remap is not None:
            number = FileId(remap.remap_id) if remap.type is RemapType.LINKED else None
        file = None if number is None else dump.files.get(number)
        if isinstance(file, RegularFile) and not file.external:
            yield LockReference(lock, file.name)


def _threads(dump: Dump) -> tuple[Pid, ...]:
    threads = {tid for task in dump.tasks for tid in task.threads if tid != task.pid}
    return tuple(sorted(threads & set(_ids(dump))))


def _ids(dump: Dump) -> tuple[Pid, ...]:
    """Collect the ids that `restore` forks for; a dead /proc/PID is one too (`collect_remap_dead_process`)."""
    if any(namespace.kind is NamespaceKind.PID for namespace in own_namespaces(dump)):
        return ()
    ids = {pid for task in dump.tasks for pid in (task.pid, task.pgid, task.sid, *task.threads)}
    ids |= {Pid(remap.remap_id) for remap in dump.remaps if remap.type is RemapType.PROCFS}
    return tuple(sorted(ids - {0}))
