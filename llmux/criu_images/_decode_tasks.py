"""Images of one process or thread to their records: `core-N.img`, `mm-N.img`, `fs-N.img`, `fdinfo-N.img`, `ids-N.img`, `creds-N.img`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llmux.criu_images._entry import Entry
from llmux.criu_images._enums import MappingKind, NamespaceKind, SeccompMode, TaskState, known
from llmux.criu_images._ids import FileId, NamespaceId, Pid
from llmux.criu_images._paths import escape
from llmux.criu_images._records import (
    AioRing,
    Credentials,
    Descriptor,
    IntervalTimer,
    Limit,
    Mapping,
    PosixTimer,
    Thread,
)

# `status` of a mapping (image.h).
_VMA_FILE_PRIVATE = 1 << 6
_VMA_FILE_SHARED = 1 << 7
_VMA_ANON_SHARED = 1 << 8
_VMA_AREA_SYSVIPC = 1 << 10
_VMA_AREA_SOCKET = 1 << 11
_VMA_AREA_MEMFD = 1 << 14
_VMA_EXT_PLUGIN = 1 << 27
_VMA_FILE = _VMA_FILE_PRIVATE | _VMA_FILE_SHARED

_MAP_HUGETLB = 0x40000
_SECOND, _MICROSECONDS = 10**9, 10**6


@dataclass(frozen=True, slots=True)
class Core:
    """`core_entry`; the first thread's has the process's own facts (`task_core_entry`) besides."""

    comm: str
    state: TaskState | int
    exit_code: int
    stop_signal: int | None
    limits: tuple[Limit, ...]
    interval_timers: tuple[IntervalTimer, ...]
    posix_timers: tuple[PosixTimer, ...]
    pending_signals: int
    oom_score_adj: int | None
    login_uid: int | None
    child_subreaper: bool
    leader: Thread


@dataclass(frozen=True, slots=True)
class Memory:
    """`mm_entry`."""

    exe: FileId
    mappings: tuple[Mapping, ...]
    aio_rings: tuple[AioRing, ...]
    dumpable: int | None


@dataclass(frozen=True, slots=True)
class Directories:
    """`fs_entry`."""

    cwd: FileId
    root: FileId


@dataclass(frozen=True, slots=True)
class ObjectIds:
    """`task_kobj_ids_entry`."""

    descriptor_table: int
    namespaces: tuple[tuple[NamespaceKind, NamespaceId], ...]


def decode_core(entry: Entry, pid: Pid) -> Core:
    """Decode the image of a thread-group leader."""
    task = entry.nested("tc")
    timers, limits = task.maybe_nested("timers"), task.maybe_nested("rlimits")
    return Core(
        comm=escape(task.raw("comm")),
        state=known(TaskState, task.number("task_state")),
        exit_code=task.number("exit_code"),
        stop_signal=task.maybe_number("stop_signo"),
        limits=() if limits is None else tuple(_limits(limits)),
        interval_timers=() if timers is None else tuple(_interval_timers(timers)),
        posix_timers=() if timers is None else tuple(map(_posix_timer, timers.each("posix"))),
        pending_signals=_signals(task, "signals_s"),
        oom_score_adj=task.maybe_number("oom_score_adj"),
        login_uid=task.maybe_number("loginuid"),
        child_subreaper=task.flag("child_subreaper"),
        leader=_thread(entry, pid, task),
    )


def decode_thread(entry: Entry, tid: Pid) -> Thread:
    """Decode the image of a thread that is no leader."""
    return _thread(entry, tid, None)


def _thread(entry: Entry, tid: Pid, task: Entry | None) -> Thread:
    """Decode a thread's own part; what dumps of old CRIUs keep for the whole process alone is taken from there."""
    core = entry.maybe_nested("thread_core")
    credentials = None if core is None else core.maybe_nested("creds")
    comm = None if core is None else core.maybe_raw("comm")
    return Thread(
        tid=tid,
        comm=None if comm is None else escape(comm),
        credentials=None if credentials is None else decode_credentials(credentials),
        seccomp=known(SeccompMode, _either(core, "seccomp_mode", task, "old_seccomp_mode") or 0),
        seccomp_filter=_either(core, "seccomp_filter", task, "old_seccomp_filter"),
        policy=None if core is None else core.maybe_number("sched_policy"),
        priority=None if core is None else core.maybe_number("sched_prio"),
        nice=None if core is None else core.maybe_number("sched_nice"),
        rseq=core is not None and core.has("rseq_entry"),
        parent_death_signal=None if core is None else core.maybe_number("pdeath_sig"),
        cgroup_set=_either(core, "cg_set", task, "cg_set"),
        pending_signals=0 if core is None else _signals(core, "signals_p"),
        extended_states=_extended_states(entry),
    )


def _either(core: Entry | None, name: str, task: Entry | None, old_name: str) -> int | None:
    found = None if core is None else core.maybe_number(name)
    return task.maybe_number(old_name) if found is None and task is not None else found


def _signals(entry: Entry, name: str) -> int:
    queue = entry.maybe_nested(name)
    return 0 if queue is None else sum(1 for _ in queue.each("signals"))


def _extended_states(entry: Entry) -> int:
    for name in ("thread_info", "fpregs", "xsave"):
        found = entry.maybe_nested(name)
        if found is None:
            return 0
        entry = found
    return entry.number("xstate_bv")


def decode_credentials(entry: Entry) -> Credentials:
    profile, label = entry.maybe_raw("lsm_profile"), entry.maybe_raw("lsm_sockcreate")
    return Credentials(
        uid=entry.number("uid"),
        gid=entry.number("gid"),
        euid=entry.number("euid"),
        egid=entry.number("egid"),
        suid=entry.number("suid"),
        sgid=entry.number("sgid"),
        fsuid=entry.number("fsuid"),
        fsgid=entry.number("fsgid"),
        groups=entry.numbers("groups"),
        inheritable=_capabilities(entry, "cap_inh"),
        permitted=_capabilities(entry, "cap_prm"),
        effective=_capabilities(entry, "cap_eff"),
        bounding=_capabilities(entry, "cap_bnd"),
        ambient=_capabilities(entry, "cap_amb"),
        secure_bits=entry.number("secbits"),
        no_new_privileges=entry.flag("no_new_privs"),
        lsm_profile=None if profile is None else escape(profile),
        lsm_socket_label=None if label is None else escape(label),
    )


def _capabilities(entry: Entry, name: str) -> int:
    words = entry.maybe_numbers(name)
    if len(words) > 2:
        raise entry.damaged(name, f"{len(words)} words; capabilities have 2")
    return sum(word << 32 * number for number, word in enumerate(words))


def _limits(entry: Entry) -> Iterator[Limit]:
    for resource, limit in enumerate(entry.each("rlimits")):
        yield Limit(resource, limit.number("cur"), limit.number("max"))


def _interval_timers(entry: Entry) -> Iterator[IntervalTimer]:
    for kind, name in enumerate(("real", "virt", "prof")):
        timer = entry.nested(name)
        remaining = timer.number("vsec") * _MICROSECONDS + timer.number("vusec")
        interval = timer.number("isec") * _MICROSECONDS + timer.number("iusec")
        if remaining or interval:
            yield IntervalTimer(kind, remaining, interval)


def _posix_timer(entry: Entry) -> PosixTimer:
    thread = entry.maybe_number("notify_thread_id")
    return PosixTimer(
        id=entry.number("it_id"),
        clock=entry.number("clock_id"),
        notify=entry.number("it_sigev_notify"),
        signal=entry.number("si_signo"),
        thread=None if thread is None else Pid(thread),
        remaining=entry.number("vsec") * _SECOND + entry.number("vnsec"),
        interval=entry.number("isec") * _SECOND + entry.number("insec"),
    )


def decode_ids(entry: Entry) -> ObjectIds:
    return ObjectIds(entry.number("files_id"), decode_namespaces(entry))


def decode_namespaces(entry: Entry) -> tuple[tuple[NamespaceKind, NamespaceId], ...]:
    found = ((kind, entry.maybe_number(f"{kind.value}_ns_id")) for kind in NamespaceKind)
    return tuple((kind, NamespaceId(number)) for kind, number in found if number)


def decode_memory(entry: Entry) -> Memory:
    return Memory(
        exe=FileId(entry.number("exe_file_id")),
        mappings=tuple(_mappings(entry)),
        aio_rings=tuple(AioRing(ring.number("id"), ring.number("nr_req")) for ring in entry.each("aios")),
        dumpable=entry.maybe_number("dumpable"),
    )


def _mappings(entry: Entry) -> Iterator[Mapping]:
    for area in entry.each("vmas"):
        kind = _mapping_kind(area.number("status"), area.number("flags"))
        if kind is not None:
            yield _mapping(area, kind)


def _mapping_kind(status: int, flags: int) -> MappingKind | None:
    """Tell what backs a mapping; None for private memory, the kernel's own areas and aio rings, which `mm_entry.aios` lists."""
    if status & _VMA_AREA_SYSVIPC:
        return MappingKind.SYSV
    if status & _VMA_AREA_SOCKET:
        return MappingKind.SOCKET
    if status & _VMA_FILE:
        return _file_mapping_kind(status)
    if flags & _MAP_HUGETLB:
        return MappingKind.HUGE_PAGES
    return MappingKind.ANONYMOUS_SHARED if status & _VMA_ANON_SHARED else None


def _file_mapping_kind(status: int) -> MappingKind:
    if status & _VMA_EXT_PLUGIN:
        return MappingKind.PLUGIN
    if status & _VMA_AREA_MEMFD:
        return MappingKind.MEMFD
    return MappingKind.FILE_SHARED if status & _VMA_FILE_SHARED else MappingKind.FILE_PRIVATE


_OF_NO_FILE = {
    MappingKind.SYSV,
    MappingKind.SOCKET,
    MappingKind.ANONYMOUS_SHARED,
    MappingKind.HUGE_PAGES,
}


def _mapping(area: Entry, kind: MappingKind) -> Mapping:
    start, end = area.number("start"), area.number("end")
    if end <= start:
        raise area.damaged("end", f"{end:x} is not above the start {start:x}")
    return Mapping(
        start=start,
        end=end,
        offset=area.number("pgoff"),
        protection=area.number("prot"),
        flags=area.number("flags"),
        kind=kind,
        file=None if kind in _OF_NO_FILE else FileId(area.number("shmid")),
    )


def decode_directories(entry: Entry) -> Directories:
    return Directories(cwd=FileId(entry.number("cwd_id")), root=FileId(entry.number("root_id")))


def decode_descriptor(entry: Entry) -> Descriptor:
    return Descriptor(entry.number("fd"), FileId(entry.number("id")), entry.number("flags"))
