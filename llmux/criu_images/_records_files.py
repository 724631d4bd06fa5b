"""Records of open files that are no sockets, and of what stands in for files without a name."""

from __future__ import annotations

from dataclasses import dataclass

from llmux.criu_images._enums import FileType, MemfdSeal, RemapType, TerminalType
from llmux.criu_images._ids import FileId, NamespaceId, Pid
from llmux.criu_images._paths import RawPath
from llmux.criu_images._record import record


@record
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
class PipeData:
    """`pipe_data_entry`: how much waits in a pipe or FIFO."""

    pipe_id: int
    length: int


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
class TerminalInfo:
    """`tty_info_entry`: a terminal, which several files may have open."""

    id: int
    type: TerminalType | int
    sid: Pid
    """The session whose controlling terminal it is; 0 for none."""
    pgid: Pid
    """Its foreground process group."""
    device: int
    """`rdev`, as CRIU stores it."""
    index: int | None
    """A pseudoterminal's: the N of /dev/pts/N."""
    locked: bool
    exclusive: bool
    packet_mode: bool

    @property
    def master(self) -> bool:
        """Whether it is the master's side of a pseudoterminal, /dev/ptmx."""
        return self.index is not None and (self.device >> 8 & 0xFFF, self.device & 0xFF) == (5, 2)


@dataclass(frozen=True, slots=True)
class Terminal:
    """`tty_file_entry`, with its `tty_info_entry` where there is one."""

    id: FileId
    info: int
    regular_file: FileId | None
    terminal: TerminalInfo | None = None


@dataclass(frozen=True, slots=True)
class Memfd:
    """`memfd_file_entry` with the facts of its inode (`memfd_inode_entry`): self-contained."""

    id: FileId
    inode: int
    name: RawPath
    size: int | None
    seals: tuple[MemfdSeal, ...] = ()
    huge_page: int | None = None
    """Bytes in one page of a memfd on hugetlbfs; restore takes as many free pages from the machine's pool."""


@dataclass(frozen=True, slots=True)
class EventFd:
    """`eventfd_file_entry`."""

    id: FileId
    flags: int
    counter: int


@dataclass(frozen=True, slots=True)
class EpollTarget:
    """`eventpoll_tfd_entry`."""

    fd: int
    """The target's descriptor in the table of whoever restores the epoll (`eventpoll_retore_tfd`)."""
    events: int
    """`EPOLL*`."""
    data: int
    file: FileId | None = None
    """The file behind that descriptor; None where nobody holds the epoll, or the descriptor is not open."""


@dataclass(frozen=True, slots=True)
class Epoll:
    """`eventpoll_file_entry`."""

    id: FileId
    flags: int
    targets: tuple[EpollTarget, ...]


@dataclass(frozen=True, slots=True)
class SignalFd:
    """`signalfd_entry`."""

    id: FileId
    flags: int
    signals: tuple[int, ...]
    """Numbers of the signals it takes."""


@dataclass(frozen=True, slots=True)
class TimerFd:
    """`timerfd_entry`."""

    id: FileId
    clock: int
    """`CLOCK_*`."""
    ticks: int
    """Expirations not read yet."""
    remaining: int
    """Nanoseconds to the next expiration; 0 for a timer that is not set."""
    interval: int
    """Nanoseconds; 0 for a timer that expires once."""


@dataclass(frozen=True, slots=True)
class TunFile:
    """`tunfile_entry`: an open /dev/net/tun, which the regular-file entry `regular_file` names."""

    id: FileId
    regular_file: FileId
    device: RawPath | None
    """The network device behind it; restored only with the network namespace that holds it (`find_tun_link`)."""
    namespace: NamespaceId | None


@dataclass(frozen=True, slots=True)
class BpfMap:
    """`bpfmap_file_entry`."""

    id: FileId
    map_id: int
    name: str
    type: int
    """`BPF_MAP_TYPE_*`."""
    key_size: int
    value_size: int
    max_entries: int
    frozen: bool


@dataclass(frozen=True, slots=True)
class PidFd:
    """`pidfd_entry`."""

    id: FileId
    pid: Pid | None
    """None where the process had ended and been reaped; CRIU makes a short-lived one in its place."""


@dataclass(frozen=True, slots=True)
class NamespaceFile:
    """`ns_file_entry`: an open /proc/PID/ns/KIND."""

    id: FileId
    namespace: NamespaceId
    clone_flag: int
    """`CLONE_NEW*`."""


@dataclass(frozen=True, slots=True)
class OtherFile:
    """A file that has nothing a restore would ask the container for, or of a type this release knows by name only."""

    id: FileId
    type: FileType | int
    """A number where this release has no name for it."""
