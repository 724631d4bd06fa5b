"""What a dump refers to, one frozen record per image entry that matters to a restore.

Names are CRIU's own (`images/*.proto`); paths are raw bytes (`_paths.py`). A record holds what its entry says and nothing
that was worked out from other entries: that is `_inventory.py`'s. The records live in modules by kind; this one joins them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from llmux.criu_images._enums import LsmType, NamespaceKind
from llmux.criu_images._ids import (
    FileId as FileId,
)
from llmux.criu_images._ids import (
    NamespaceId as NamespaceId,
)
from llmux.criu_images._ids import (
    Pid as Pid,
)
from llmux.criu_images._ids import (
    SocketInode as SocketInode,
)
from llmux.criu_images._records_files import (
    BpfMap as BpfMap,
)
from llmux.criu_images._records_files import (
    Epoll as Epoll,
)
from llmux.criu_images._records_files import (
    EpollTarget as EpollTarget,
)
from llmux.criu_images._records_files import (
    EventFd as EventFd,
)
from llmux.criu_images._records_files import (
    Fifo as Fifo,
)
from llmux.criu_images._records_files import (
    GhostFile as GhostFile,
)
from llmux.criu_images._records_files import (
    Memfd as Memfd,
)
from llmux.criu_images._records_files import (
    NamespaceFile as NamespaceFile,
)
from llmux.criu_images._records_files import (
    Notify as Notify,
)
from llmux.criu_images._records_files import (
    OtherFile as OtherFile,
)
from llmux.criu_images._records_files import (
    PidFd as PidFd,
)
from llmux.criu_images._records_files import (
    Pipe as Pipe,
)
from llmux.criu_images._records_files import (
    PipeData as PipeData,
)
from llmux.criu_images._records_files import (
    RegularFile as RegularFile,
)
from llmux.criu_images._records_files import (
    Remap as Remap,
)
from llmux.criu_images._records_files import (
    SignalFd as SignalFd,
)
from llmux.criu_images._records_files import (
    Terminal as Terminal,
)
from llmux.criu_images._records_files import (
    TerminalInfo as TerminalInfo,
)
from llmux.criu_images._records_files import (
    TimerFd as TimerFd,
)
from llmux.criu_images._records_files import (
    TunFile as TunFile,
)
from llmux.criu_images._records_files import (
    Watch as Watch,
)
from llmux.criu_images._records_kernel import (
    AutofsMount as AutofsMount,
)
from llmux.criu_images._records_kernel import (
    BinaryFormat as BinaryFormat,
)
from llmux.criu_images._records_kernel import (
    CgroupDirectory as CgroupDirectory,
)
from llmux.criu_images._records_kernel import (
    CgroupMember as CgroupMember,
)
from llmux.criu_images._records_kernel import (
    Cgroups as Cgroups,
)
from llmux.criu_images._records_kernel import (
    CgroupSet as CgroupSet,
)
from llmux.criu_images._records_kernel import (
    Cpu as Cpu,
)
from llmux.criu_images._records_kernel import (
    ExternalNamespace as ExternalNamespace,
)
from llmux.criu_images._records_kernel import (
    FileLock as FileLock,
)
from llmux.criu_images._records_kernel import (
    HostName as HostName,
)
from llmux.criu_images._records_kernel import (
    IdRange as IdRange,
)
from llmux.criu_images._records_kernel import (
    Mount as Mount,
)
from llmux.criu_images._records_kernel import (
    NetDevice as NetDevice,
)
from llmux.criu_images._records_kernel import (
    ParentImages as ParentImages,
)
from llmux.criu_images._records_kernel import (
    SeccompFilter as SeccompFilter,
)
from llmux.criu_images._records_kernel import (
    SysvQueue as SysvQueue,
)
from llmux.criu_images._records_kernel import (
    SysvSegment as SysvSegment,
)
from llmux.criu_images._records_kernel import (
    SysvSemaphores as SysvSemaphores,
)
from llmux.criu_images._records_kernel import (
    TimeOffsets as TimeOffsets,
)
from llmux.criu_images._records_kernel import (
    UserNamespace as UserNamespace,
)
from llmux.criu_images._records_sockets import (
    InetSocket as InetSocket,
)
from llmux.criu_images._records_sockets import (
    NetlinkSocket as NetlinkSocket,
)
from llmux.criu_images._records_sockets import (
    PacketSocket as PacketSocket,
)
from llmux.criu_images._records_sockets import (
    QueuedPacket as QueuedPacket,
)
from llmux.criu_images._records_sockets import (
    SocketOptions as SocketOptions,
)
from llmux.criu_images._records_sockets import (
    TcpQueues as TcpQueues,
)
from llmux.criu_images._records_sockets import (
    UnixSocket as UnixSocket,
)
from llmux.criu_images._records_tasks import (
    AioRing as AioRing,
)
from llmux.criu_images._records_tasks import (
    Credentials as Credentials,
)
from llmux.criu_images._records_tasks import (
    Descriptor as Descriptor,
)
from llmux.criu_images._records_tasks import (
    IntervalTimer as IntervalTimer,
)
from llmux.criu_images._records_tasks import (
    Limit as Limit,
)
from llmux.criu_images._records_tasks import (
    Mapping as Mapping,
)
from llmux.criu_images._records_tasks import (
    PosixTimer as PosixTimer,
)
from llmux.criu_images._records_tasks import (
    Task as Task,
)
from llmux.criu_images._records_tasks import (
    Thread as Thread,
)

File: TypeAlias = (
    RegularFile
    | UnixSocket
    | InetSocket
    | PacketSocket
    | NetlinkSocket
    | Fifo
    | Pipe
    | Notify
    | Terminal
    | Memfd
    | EventFd
    | Epoll
    | SignalFd
    | TimerFd
    | TunFile
    | BpfMap
    | PidFd
    | NamespaceFile
    | OtherFile
)


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
    outer_namespaces: tuple[tuple[NamespaceKind, NamespaceId], ...] = ()
    """The dumping criu's own (`root_ids`): a task's namespace that is none of them belongs to the dump."""
    lsm: LsmType | int = LsmType.NO_LSM
    tcp_close: bool = False
    """Made with `--tcp-close`: connections come back closed."""
    sysv_queues: tuple[SysvQueue, ...] = ()
    sysv_semaphores: tuple[SysvSemaphores, ...] = ()
    host_names: tuple[HostName, ...] = ()
    user_namespaces: tuple[UserNamespace, ...] = ()
    time_offsets: tuple[TimeOffsets, ...] = ()
    external_namespaces: tuple[ExternalNamespace, ...] = ()
    net_devices: tuple[NetDevice, ...] = ()
    cgroups: Cgroups = field(default_factory=Cgroups)
    outer_cgroup_set: int | None = None
    """The dumping criu's own set of groups: what is in it is put there again, wherever the restoring criu is."""
    seccomp_filters: tuple[SeccompFilter, ...] = ()
    cpus: tuple[Cpu, ...] = ()
    autofs_mounts: tuple[AutofsMount, ...] = ()
    binary_formats: tuple[BinaryFormat, ...] = ()
    parents: tuple[ParentImages, ...] = ()
    """The chain of earlier dumps, nearest first; it ends with the first that has a problem."""
