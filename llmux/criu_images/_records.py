"""What a dump refers to, one frozen record per image entry that matters to a restore.

Names are CRIU's own (`images/*.proto`); paths are raw bytes (`_paths.py`). A record holds what its entry says and nothing
that was worked out from other entries: that is `_inventory.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType, TypeAlias

from llmux.criu_images._enums import (
    FileType,
    MappingKind,
    RemapType,
    SeccompMode,
    Shutdown,
    SocketState,
    SocketType,
    TaskState,
)
from llmux.criu_images._paths import RawPath

FileId = NewType("FileId", int)
"""Ties a descriptor (`fdinfo_entry.id`), a mapping (`vma_entry.shmid`) or an exe, cwd and root to its file entry."""
SocketInode = NewType("SocketInode", int)
"""Ties a Unix socket to its peer (`unix_sk_entry.ino` and `.peer`)."""
Pid = NewType("Pid", int)
"""A process, thread, session or process group id, as seen in the dumped tree's own PID namespace."""


@dataclass(frozen=True, slots=True)
class RegularFile:
    """`reg_file_entry`: any file opened by a path, directories and device nodes included."""

    id: FileId
    name: RawPath
    flags: int
    """Open flags (`O_*`)."""
    pos: int
    size: int | None
    """Bytes at dump; restore demands the same, except where CRIU stored none (O_WRONLY|O_APPEND)."""
    mode: int | None
    """The full st_mode."""
    build_id: bytes | None
    external: bool
    """`name` is not a path but a key `file[MOUNT:INODE]`, to be handed in with `--inherit-fd`."""


@dataclass(frozen=True, slots=True)
class Remap:
    """`remap_file_path_entry`: the file `original` has lost its name and is restored by way of `remap_id`."""

    original: FileId
    remap_id: int
    """LINKED: the file id of the `link_remap.N` entry; GHOST: the number of `ghost-file-N.img`; PROCFS: a PID."""
    type: RemapType | int


@dataclass(frozen=True, slots=True)
class GhostFile:
    """`ghost_file_entry`: a file with no link left, its content in the image of the same number."""

    number: int
    mode: int
    uid: int
    gid: int
    size: int | None
    device: int | None
    """The raw `dev`, as CRIU stores it."""
    inode: int | None
    symlink_target: RawPath | None


@dataclass(frozen=True, slots=True)
class QueuedPacket:
    """`sk_packet_entry`: one message in a socket's queue."""

    socket: FileId
    """The receiver."""
    length: int
    rights: tuple[FileId, ...]
    """Files in flight (SCM_RIGHTS)."""


@dataclass(frozen=True, slots=True)
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

    @property
    def listening(self) -> bool:
        return self.state is SocketState.LISTEN


@dataclass(frozen=True, slots=True)
class Fifo:
    """`fifo_entry`: a named pipe; its node is the regular-file entry `regular_file`."""

    id: FileId
    pipe_id: int
    regular_file: FileId


@dataclass(frozen=True, slots=True)
class Pipe:
    """`pipe_entry`: self-contained."""

    id: FileId
    pipe_id: int
    flags: int


@dataclass(frozen=True, slots=True)
class Watch:
    """`inotify_wd_entry` or `fanotify_mark_entry`."""

    descriptor: int
    inode: int
    device: int
    mask: int
    path: RawPath | None
    """The path that CRIU resolved the handle to (`fh_entry.path`, or the mount mark's), if it did."""


@dataclass(frozen=True, slots=True)
class Notify:
    """`inotify_file_entry` or `fanotify_file_entry`."""

    id: FileId
    type: FileType
    """INOTIFY or FANOTIFY."""
    watches: tuple[Watch, ...]


@dataclass(frozen=True, slots=True)
class Terminal:
    """`tty_file_entry` with its `tty_info_entry`'s facts."""

    id: FileId
    info: int
    regular_file: FileId | None


@dataclass(frozen=True, slots=True)
class Memfd:
    """`memfd_file_entry` with the name of its inode: self-contained."""

    id: FileId
    inode: int
    name: RawPath
    size: int | None


@dataclass(frozen=True, slots=True)
class OtherFile:
    """A file that has nothing a restore would ask the container for, or of a type this release knows by name only."""

    id: FileId
    type: FileType | int
    """A number where this release has no name for it."""


File: TypeAlias = RegularFile | UnixSocket | InetSocket | Fifo | Pipe | Notify | Terminal | Memfd | OtherFile


@dataclass(frozen=True, slots=True)
class Descriptor:
    """`fdinfo_entry`: one open descriptor of one descriptor table."""

    fd: int
    file: FileId
    flags: int
    """FD_CLOEXEC and its like."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """`vma_entry` that maps a file, a memfd or System V shared memory; anonymous memory has no record."""

    start: int
    end: int
    offset: int
    """Bytes into the file."""
    protection: int
    flags: int
    """`MAP_*`."""
    kind: MappingKind
    file: FileId | None
    """What is mapped (`shmid`); None for System V shared memory, whose `shmid` is no file."""


@dataclass(frozen=True, slots=True)
class Task:
    """One process: `pstree_entry` joined by PID with its core, mm, fs, ids and descriptor images."""

    pid: Pid
    ppid: Pid
    pgid: Pid
    sid: Pid
    threads: tuple[Pid, ...]
    """All thread ids, the leader's first."""
    comm: str
    state: TaskState | int
    exe: FileId | None
    cwd: FileId | None
    root: FileId | None
    descriptors: tuple[Descriptor, ...]
    mappings: tuple[Mapping, ...]
    seccomp: SeccompMode | int
    """The leader's."""


@dataclass(frozen=True, slots=True)
class FileLock:
    """`file_lock_entry`."""

    kind: int
    """FL_POSIX 1, FL_FLOCK 2, FL_OFD 4, FL_LEASE 8 (CRIU's file-lock.h)."""
    type: int
    pid: Pid
    """The holder, as the dumping criu saw it: not always in the tree's own namespace."""
    fd: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Mount:
    """`mnt_entry`: only in dumps that own their mount namespace."""

    id: int
    parent: int
    fstype: int
    root: RawPath
    mountpoint: RawPath
    source: RawPath


@dataclass(frozen=True, slots=True)
class SysvSegment:
    """`ipc_shm_entry`: a System V shared-memory segment; only in dumps that own their IPC namespace."""

    key: int
    id: int
    size: int
    mode: int


@dataclass(frozen=True, slots=True)
class PipeData:
    """`pipe_data_entry`: how much waits in a pipe or FIFO."""

    pipe_id: int
    length: int


@dataclass(frozen=True, slots=True)
class TcpQueues:
    """`tcp_stream_entry`: how much waits in an established connection."""

    inode: SocketInode
    received: int
    unsent: int
    """Sent and not acknowledged, or not sent yet."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something in the images that this release can't decode; reported, never fatal."""

    image: str
    entry: int
    why: str


@dataclass(frozen=True, slots=True)
class Dump:
    """A whole dump, decoded. Files are keyed by id, ghosts by number."""

    image_version: int
    root_task: Pid
    files: dict[FileId, File]
    remaps: tuple[Remap, ...]
    ghosts: dict[int, GhostFile]
    packets: tuple[QueuedPacket, ...]
    tasks: tuple[Task, ...]
    locks: tuple[FileLock, ...]
    mounts: tuple[Mount, ...]
    pipe_data: tuple[PipeData, ...] = ()
    tcp_queues: tuple[TcpQueues, ...] = ()
    sysv_segments: tuple[SysvSegment, ...] = ()
    plugins: tuple[str, ...] = ()
    """CRIU plugins that took part in the dump, and that a restore needs."""
    unknown: tuple[Unknown, ...] = ()
