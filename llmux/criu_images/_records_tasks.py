"""Records of processes and threads, of what they map, and of the limits and rights a restore gives back to them."""

from __future__ import annotations

from dataclasses import dataclass

from llmux.criu_images._enums import MappingKind, NamespaceKind, SeccompMode, TaskState
from llmux.criu_images._ids import FileId, NamespaceId, Pid
from llmux.criu_images._record import record


@record
class Descriptor:
    """`fdinfo_entry`: one open descriptor of one descriptor table."""

    fd: int
    file: FileId
    flags: int
    """FD_CLOEXEC and its like."""


@record
class Mapping:
    """`vma_entry` that maps a file, a memfd, shared memory or what else has a demand; anonymous private memory has no record."""

    start: int
    end: int
    offset: int
    """Bytes into the file."""
    protection: int
    flags: int
    """`MAP_*`."""
    kind: MappingKind
    file: FileId | None
    """What is mapped (`shmid`); None for memory that is no file."""


@dataclass(frozen=True, slots=True)
class AioRing:
    """`aio_ring_entry`: an io_setup(2) context; CRIU makes it anew at the same address."""

    address: int
    requests: int
    """Its `nr_events`; the sum over the machine must stay below fs.aio-max-nr."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """`creds_entry`."""

    uid: int
    gid: int
    euid: int
    egid: int
    suid: int
    sgid: int
    fsuid: int
    fsgid: int
    groups: tuple[int, ...]
    inheritable: int
    """Capabilities, one bit for each, as are the next four."""
    permitted: int
    effective: int
    bounding: int
    ambient: int
    secure_bits: int
    no_new_privileges: bool
    lsm_profile: str | None
    """The AppArmor profile or SELinux label that restore puts the task under."""
    lsm_socket_label: str | None


@dataclass(frozen=True, slots=True)
class Thread:
    """`thread_core_entry` of one thread, with the thread's own architecture state summed up."""

    tid: Pid
    comm: str | None
    """None in dumps of CRIU before it kept the names of threads."""
    credentials: Credentials | None
    seccomp: SeccompMode | int
    seccomp_filter: int | None
    """Its last filter, as an index into `seccomp.img`."""
    policy: int | None
    """`SCHED_*`."""
    priority: int | None
    """Of the real-time policies."""
    nice: int | None
    rseq: bool
    """Whether it has registered a restartable-sequences area."""
    parent_death_signal: int | None
    cgroup_set: int | None
    pending_signals: int
    extended_states: int
    """x86: `xstate_bv`, one bit for each CPU state that was in use."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`rlimit_entry`: bytes, seconds or a number, by resource; RLIM_INFINITY is all ones."""

    resource: int
    """`RLIMIT_*`: its place in the list."""
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class IntervalTimer:
    """`itimer_entry` that is set: setitimer(2)."""

    kind: int
    """ITIMER_REAL 0, ITIMER_VIRTUAL 1, ITIMER_PROF 2."""
    remaining: int
    """Microseconds."""
    interval: int


@dataclass(frozen=True, slots=True)
class PosixTimer:
    """`posix_timer_entry`: timer_create(2)."""

    id: int
    clock: int
    """`CLOCK_*`."""
    notify: int
    """`SIGEV_*`."""
    signal: int
    thread: Pid | None
    """The thread that SIGEV_THREAD_ID names."""
    remaining: int
    """Nanoseconds."""
    interval: int


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
    exit_code: int = 0
    """As wait(2) gives it; of a task that has ended."""
    stop_signal: int | None = None
    thread_details: tuple[Thread, ...] = ()
    """In the order of `threads`; empty for a task that has ended."""
    limits: tuple[Limit, ...] = ()
    interval_timers: tuple[IntervalTimer, ...] = ()
    posix_timers: tuple[PosixTimer, ...] = ()
    aio_rings: tuple[AioRing, ...] = ()
    namespaces: tuple[tuple[NamespaceKind, NamespaceId], ...] = ()
    """Empty in dumps older than the images of ids."""
    pending_signals: int = 0
    """Sent to the process and not delivered yet."""
    oom_score_adj: int | None = None
    login_uid: int | None = None
    dumpable: int | None = None
    child_subreaper: bool = False
