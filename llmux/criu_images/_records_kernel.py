"""Records of what belongs to no single file or process: locks, namespaces and what lives in them, control groups, the CPU."""

from __future__ import annotations

from dataclasses import dataclass

from llmux.criu_images._enums import NetDeviceType
from llmux.criu_images._ids import NamespaceId, Pid
from llmux.criu_images._paths import RawPath


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
    namespace: NamespaceId
    flags: int
    """`MS_*`."""
    options: RawPath
    fsname: RawPath | None = None
    """The file system's own name, where `fstype` is none that CRIU has a number for."""
    shared_id: int = 0
    master_id: int = 0
    external: RawPath | None = None
    """The key that `--external mnt[KEY]:PATH` gives a source for."""
    plugin: bool = False
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class SysvSegment:
    """`ipc_shm_entry`: a System V shared-memory segment; only in dumps that own their IPC namespace."""

    key: int
    id: int
    size: int
    mode: int


@dataclass(frozen=True, slots=True)
class SysvQueue:
    """`ipc_msg_entry`: a System V message queue."""

    key: int
    id: int
    mode: int
    messages: int


@dataclass(frozen=True, slots=True)
class SysvSemaphores:
    """`ipc_sem_entry`: a set of System V semaphores."""

    key: int
    id: int
    mode: int
    count: int


@dataclass(frozen=True, slots=True)
class NetDevice:
    """`net_device_entry`: a network device of a namespace that the dump owns."""

    namespace: NamespaceId
    type: NetDeviceType | int
    index: int
    name: RawPath


@dataclass(frozen=True, slots=True)
class HostName:
    """`utsns_entry`."""

    namespace: NamespaceId
    node: str
    domain: str


@dataclass(frozen=True, slots=True)
class IdRange:
    """`uid_gid_extent`."""

    first: int
    lower_first: int
    count: int


@dataclass(frozen=True, slots=True)
class UserNamespace:
    """`userns_entry`."""

    namespace: NamespaceId
    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]


@dataclass(frozen=True, slots=True)
class TimeOffsets:
    """`timens_entry`: nanoseconds that the namespace's clocks showed at dump."""

    namespace: NamespaceId
    monotonic: int
    boottime: int


@dataclass(frozen=True, slots=True)
class ExternalNamespace:
    """`pidns_entry` or `netns_entry` with a key: not restored but handed in (`--inherit-fd`, `--external`)."""

    kind: str
    """`pid` or `net`."""
    namespace: NamespaceId
    key: RawPath


@dataclass(frozen=True, slots=True)
class CgroupMember:
    """`cg_member_entry`: where a task is in one hierarchy."""

    hierarchy: str
    """Its controllers or name; empty for cgroup v2."""
    path: RawPath


@dataclass(frozen=True, slots=True)
class CgroupSet:
    """`cg_set_entry`: the groups that a task is in, one of each hierarchy."""

    id: int
    members: tuple[CgroupMember, ...]


@dataclass(frozen=True, slots=True)
class CgroupDirectory:
    """`cgroup_dir_entry` with its controllers: a group that restore makes where it is missing."""

    controllers: tuple[str, ...]
    path: RawPath
    properties: tuple[str, ...]
    """Names of the files whose values restore writes."""


@dataclass(frozen=True, slots=True)
class Cgroups:
    """`cgroup_entry`."""

    sets: tuple[CgroupSet, ...] = ()
    directories: tuple[CgroupDirectory, ...] = ()


@dataclass(frozen=True, slots=True)
class SeccompFilter:
    """`seccomp_filter`: one program, and the filter that was there before it."""

    instructions: int
    previous: int | None
    flags: int


@dataclass(frozen=True, slots=True)
class Cpu:
    """`cpuinfo_x86_entry`: written where `--cpu-cap` asks for it."""

    family: int
    model: int
    name: str | None
    extended_states: int
    """`xfeatures_mask`: the CPU states that the kernel had switched on."""


@dataclass(frozen=True, slots=True)
class AutofsMount:
    """`autofs_entry`."""

    mount: int
    daemon_pgid: Pid


@dataclass(frozen=True, slots=True)
class BinaryFormat:
    """`binfmt_misc_entry`: an interpreter registered for the whole machine."""

    name: RawPath
    interpreter: RawPath
    enabled: bool


@dataclass(frozen=True, slots=True)
class ParentImages:
    """A `parent` link: an earlier dump that holds memory pages this one left out."""

    link: RawPath
    """Where it leads, as written."""
    path: RawPath
    """The same below the directory that has the link."""
    problem: str | None
    """Why CRIU can't use it; None where it can."""
