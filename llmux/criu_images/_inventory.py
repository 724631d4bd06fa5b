"""From records to references: each path, port and id that a restore will ask for, who refers to it, and how.

The way in is `take_inventory(dump)`. Everything downstream (report, manifest, plan) works from its result, so what a restore
demands is decided here, once.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import Dump, FileId, InetSocket, Pid, Remap, UnixSocket


class Role(enum.Enum):
    """How a task refers to a file."""

    FD = "fd"
    MAPPING = "mapping"
    EXE = "exe"
    CWD = "cwd"
    ROOT = "root"
    IN_FLIGHT = "in flight"
    WATCH = "watch"


@dataclass(frozen=True, slots=True)
class User:
    """One use of a file: a task's descriptor 7, say, or its mapping at 7f00a000."""

    pid: Pid
    role: Role
    number: int = 0
    """The descriptor's number, the mapping's start address, the queue owner's descriptor; else 0."""


class PathKind(enum.Enum):
    """What a restore needs at a path, and who makes it."""

    REGULAR = "regular file"
    """Must exist with the recorded size, mode and build-id (`open_path`, `validate_file`)."""
    DIRECTORY = "directory"
    """Opened as a file, a cwd, a root or a relative socket's directory; must exist with its mode."""
    DEVICE = "device node"
    """Must exist; never created by us."""
    FIFO = "fifo"
    """Must exist as a FIFO; its data is in the images."""
    SOCKET = "socket"
    """Its parent directory must exist and no non-socket may be at the path; CRIU binds it itself (`bind_unix_sk`)."""
    LINK_REMAP = "link remap"
    """`link_remap.N`: must exist, in its hard-link group; consumed by a successful restore."""
    LINKED_NAME = "name restored by link"
    """The lost name of a link remap: CRIU links it for a moment, so its parent must exist and the name be free."""
    GHOST_NAME = "ghost name"
    """The lost name of a ghost: its parent (or nearest ancestor) must exist; never created by us."""
    WATCHED = "watched path"
    """Must exist for inotify and fanotify."""
    PROC = "proc file"
    """Below /proc: never created; a dead /proc/PID needs that PID."""


@dataclass(frozen=True, slots=True)
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
    """The open flags of its first descriptor."""
    file: FileId | None = None
    remap: Remap | None = None


@dataclass(frozen=True, slots=True)
class SocketReference:
    """One Unix socket, its holders and its peer."""

    socket: UnixSocket
    bind_path: RawPath | None
    """The absolute path that a restore binds; None for unnamed, abstract and accepted or connected sockets whose
    name is their listener's."""
    peer: UnixSocket | None
    users: tuple[User, ...]
    queued_bytes: int
    queued_packets: int


@dataclass(frozen=True, slots=True)
class PortReference:
    """One listening or bound inet port that must be free."""

    socket: InetSocket
    users: tuple[User, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that a restore of one dump will ask for, each list in a stable order."""

    paths: tuple[PathReference, ...]
    sockets: tuple[SocketReference, ...]
    ports: tuple[PortReference, ...]
    connections: tuple[PortReference, ...]
    """Inet sockets that are neither listening nor merely bound."""
    ids: tuple[Pid, ...]
    """Every PID, TID, PGID and SID that must be free, sorted."""


def take_inventory(dump: Dump) -> Inventory:
    """Work out what a restore of `dump` will ask for."""
    raise NotImplementedError
