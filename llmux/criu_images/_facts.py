"""What was observed of this machine and container: the plan's second input. Records only; `_observe.py` fills them."""

from __future__ import annotations

import enum
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from llmux.criu_images._nvidia import NvidiaDriver
from llmux.criu_images._paths import RawPath


@dataclass(frozen=True, slots=True)
class Inode:
    """The lstat(2) facts of one existing path, with those that only statx(2) tells."""

    mode: int
    uid: int
    gid: int
    size: int
    blocks: int
    """Of 512 bytes."""
    links: int
    device: int
    number: int
    rdev: int
    mtime_ns: int
    atime_ns: int
    birth_ns: int | None
    mount: int | None
    """The id of its mount in mountinfo."""
    flags: int = 0
    """Of chattr(1): immutable, append-only, no dump."""
    ctime_ns: int = 0

    @property
    def data(self) -> int:
        """Bytes that are stored: holes cost nothing."""
        return min(self.size, self.blocks * 512)

    @property
    def kind(self) -> str:
        """Say in words what sits there."""
        return _KINDS.get(stat.S_IFMT(self.mode), "unknown node")

    @property
    def identity(self) -> tuple[int, int]:
        return self.device, self.number

    @property
    def born(self) -> Born:
        """Return the identity that no later inode gets again."""
        return self.device, self.number, self.birth_ns or 0


Born: TypeAlias = tuple[int, int, int]
"""Device, inode number and birth time in nanoseconds: numbers are used again, but not born at the same time."""

Claim: TypeAlias = tuple[RawPath, Born | None]
"""A name that a restore has given to an inode, or, without one, that only CRIU is going to make."""

_KINDS = {
    stat.S_IFREG: "regular file",
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "fifo",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What is at one path of the manifest, here and now."""

    inode: Inode | None = None
    """None where nothing is."""
    obstacle: str | None = None
    """Why the way to the path cannot be walked: a link of another user, a component that is no directory."""
    digest: str | None = None
    """Of the content by the manifest's algorithm, where the size is the recorded one and the digest decides something."""
    build_id: str | None = None
    target: RawPath | None = None
    """A symbolic link's."""
    held: bool | None = None
    """Of a file in memory: whether some process has it open or mapped; None where that was not asked or cannot be told."""


@dataclass(frozen=True, slots=True)
class Unheld:
    """What of a file's recorded metadata the file system cannot hold where the file is to be made."""

    xattrs: frozenset[RawPath]
    flags: bool
    """Its inode flags cannot be set."""


class Peer(enum.Enum):
    """Who is at the name of an external peer, for a datagram socket that connects to it."""

    LISTENS = "listens"
    NOBODY = "nobody"
    OTHER_TYPE = "other type"
    REFUSES = "refuses"
    """It is connected itself, and takes messages from that one only."""


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One line of mountinfo (proc_pid_mountinfo(5))."""

    id: int
    parent: int
    device: str
    root: RawPath
    mountpoint: RawPath
    fstype: str
    source: RawPath
    shared: bool = False
    """A mount made below it shows up in other mount namespaces too (mount_namespaces(7))."""

    @property
    def in_memory(self) -> bool:
        """Tell whether what is on it lasts no longer than the machine runs: shared memory, semaphores, scratch files."""
        return self.fstype in {"tmpfs", "ramfs"}


@dataclass(frozen=True, slots=True)
class Port:
    """One taken inet port of this network namespace."""

    family: int
    protocol: int
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Processor:
    """The features that code can be compiled for, as /proc/cpuinfo names them."""

    model: str
    features: frozenset[str]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything about this place that the plan compares with the manifest."""

    paths: Mapping[RawPath, Seen]
    ids: Mapping[int, str] = field(default_factory=dict)
    """Ids in use, with the holder's name."""
    ports: tuple[Port, ...] = ()
    socket_names: frozenset[bytes] = frozenset()
    """Of the Unix sockets of this network namespace, as /proc/net/unix prints them: an abstract one's NULs as '@'."""
    mounts: tuple[MountPoint, ...] = ()
    processor: Processor = Processor("", frozenset())
    kernel: str = ""
    peers: Mapping[RawPath, Peer] = field(default_factory=dict)
    """By the name of each external peer, a path or abstract; nobody where a name is not in it."""
    made: frozenset[tuple[RawPath, Born]] = frozenset()
    """Files in memory that earlier rebuilds have made here."""
    unheld: Mapping[RawPath, Unheld] = field(default_factory=dict)
    """Of the paths at which nothing is, those whose metadata will not fit."""
    locked: Mapping[int, str] = field(default_factory=dict)
    """By the place of a lock in the manifest's `locks`: who holds one here that keeps the restore from taking it."""
    kept: frozenset[RawPath] = frozenset()
    """The first names of files that a restore, wherever it runs, keeps others from."""
    own: frozenset[Claim] = frozenset()
    """What is this restore's, which is not over: an earlier rebuild has made it."""
    claimed: Mapping[Claim, str] = field(default_factory=dict)
    """What is another restore's that is not over, with its journal's name."""
    nvidia: NvidiaDriver | None = None
    private_mounts: bool = False
    """This mount namespace is not the container's main one, so a mount made here is seen by the restored tree alone."""

    def claimant(self, path: RawPath, inode: Inode) -> str | None:
        """Return the journal of the other restore that what is at `path` belongs to, if one does."""
        claims: tuple[Claim, ...] = ((path, inode.born), (path, None))
        if any(claim in self.own for claim in claims):
            return None
        return next((self.claimed[claim] for claim in claims if claim in self.claimed), None)
