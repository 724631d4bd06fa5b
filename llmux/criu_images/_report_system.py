"""The tables of what belongs to no path or socket: descriptors, mappings, rights, limits, timers, groups, namespaces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

from llmux.criu_images import _words as words
from llmux.criu_images._counted import counted
from llmux.criu_images._details import details_of
from llmux.criu_images._inventory import Inventory
from llmux.criu_images._paths import escape
from llmux.criu_images._records import (
    CgroupMember,
    Credentials,
    Dump,
    FileId,
    IdRange,
    IntervalTimer,
    Limit,
    Mapping,
    Mount,
    Pid,
    RegularFile,
    Task,
    Thread,
    UnixSocket,
)
from llmux.criu_images._table import Table

_CLOSE_ON_EXEC = 1
_SECOND, _MICROSECONDS = 10**9, 10**6
_UNLIMITED = 2**64 - 1

# As setrlimit(2) and setitimer(2) of x86-64 and arm64 number them.
_RESOURCES = (
    *("cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks"),
    *("sigpending", "msgqueue", "nice", "rtprio", "rttime"),
)
_INTERVAL_TIMERS = ("real", "virtual", "prof")
_POLICIES = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline"}

_Thing = TypeVar("_Thing", bound=Hashable)


def _pids(pids: Iterable[Pid]) -> str:
    return words.ranges(sorted(set(pids)))


def _grouped(dump: Dump, things: Callable[[Task], Iterable[_Thing]]) -> dict[_Thing, list[Pid]]:
    """Tell of each thing once, with the tasks that have it."""
    tasks: defaultdict[_Thing, list[Pid]] = defaultdict(list)
    for task in dump.tasks:
        for thing in things(task):
            tasks[thing].append(task.pid)
    return tasks


def descriptors(dump: Dump, alone: bool) -> Iterator[Table]:  # noqa: FBT001 - as all tables are asked for
    """List each descriptor, where this is asked for: elsewhere it stands beside what it leads to."""
    rows = [
        (
            str(task.pid),
            str(found.fd),
            "cloexec" if found.flags & _CLOSE_ON_EXEC else "",
            _what(dump, found.file),
        )
        for task in (dump.tasks if alone else ())
        for found in task.descriptors
    ]
    yield Table("Descriptors", "", ("pid", "fd", "flags", "file"), rows)


def mappings(dump: Dump, alone: bool) -> Iterator[Table]:  # noqa: FBT001
    rows = [
        _mapping_row(dump, task, found) for task in (dump.tasks if alone else ()) for found in task.mappings
    ]
    note = "anonymous private memory is not listed"
    yield Table("Mappings", note, ("pid", "addresses", "rights", "kind", "offset", "file"), rows)


def _mapping_row(dump: Dump, task: Task, found: Mapping) -> tuple[str, ...]:
    rights = "".join(
        letter if found.protection & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4))
    )
    return (
        str(task.pid),
        f"{found.start:x}-{found.end:x}",
        rights,
        found.kind.value,
        f"{found.offset:#x}",
        "" if found.file is None else _what(dump, found.file),
    )


def _what(dump: Dump, number: FileId) -> str:
    match dump.files.get(number):
        case None:
            return f"file {number:#x}"
        case RegularFile(name=name):
            return escape(name)
        case UnixSocket() as socket:
            return f"unixsk {words.unix_address(socket)}"
        case file:
            return f"{words.file_kind(file)} {details_of(file, dump.files)}".rstrip()


def rights(dump: Dump, alone: bool) -> Iterator[Table]:  # noqa: FBT001
    credentials = [
        (*credentials_in_words(owner), _pids(pids)) for owner, pids in _grouped(dump, _owners).items()
    ]
    yield Table("Credentials", "CRIU gives them back", (*_CREDENTIALS, "processes"), credentials)
    threads = [row for task in dump.tasks for thread in task.thread_details if (row := _thread(task, thread))]
    yield Table("Threads out of the ordinary", "", ("tid", "name", "what"), threads)
    filters = [_filter_row(dump, number) for number in range(len(dump.seccomp_filters))]
    yield Table(
        "Seccomp filters", "in the images", ("number", "instructions", "flags", "after", "processes"), filters
    )
    limits = _grouped(dump, lambda task: task.limits) if alone else {}
    rows = [(*limit_in_words(limit), _pids(pids)) for limit, pids in sorted(limits.items(), key=_by_resource)]
    yield Table("Limits", "soft and hard", ("resource", "soft", "hard", "processes"), rows)


def _owners(task: Task) -> dict[Credentials, None]:
    return dict.fromkeys(
        thread.credentials for thread in task.thread_details if thread.credentials is not None
    )


_CREDENTIALS = ("users", "groups", "more groups", "permitted", "effective", "other capabilities", "details")


def credentials_in_words(owner: Credentials) -> tuple[str, ...]:
    """Say who a thread is and what it may do, in the columns of the table."""
    users = (owner.uid, owner.euid, owner.suid, owner.fsuid)
    groups = (owner.gid, owner.egid, owner.sgid, owner.fsgid)
    others = {"inheritable": owner.inheritable, "bounding": owner.bounding, "ambient": owner.ambient}
    details = (
        "no new privileges" if owner.no_new_privileges else "",
        f"secure bits {owner.secure_bits:#x}" if owner.secure_bits else "",
        f"profile {owner.lsm_profile}" if owner.lsm_profile else "",
        f"sockets {owner.lsm_socket_label}" if owner.lsm_socket_label else "",
    )
    return (
        f"uid {_same(users)}",
        f"gid {_same(groups)}",
        f"groups {' '.join(map(str, owner.groups))}" if owner.groups else "",
        f"permitted {owner.permitted:#x}",
        f"effective {owner.effective:#x}",
        ", ".join(f"{name} {value:#x}" for name, value in others.items() if value),
        ", ".join(filter(None, details)),
    )


def _same(numbers: tuple[int, ...]) -> str:
    """Write real, effective, saved and file-system ids; one where all are the same."""
    return str(numbers[0]) if len(set(numbers)) == 1 else "/".join(map(str, numbers))


def _thread(task: Task, thread: Thread) -> tuple[str, ...] | None:
    found = thread_in_words(thread)
    return (str(thread.tid), thread.comm or task.comm, found) if found else None


def thread_in_words(thread: Thread) -> str:
    """Say what sets a thread apart from one that was just started; empty where nothing does."""
    policy = _POLICIES.get(thread.policy or 0, str(thread.policy))
    facts = (
        f"policy {policy}" if thread.policy else "",
        f"priority {thread.priority}" if thread.priority else "",
        f"nice {thread.nice}" if thread.nice else "",
        f"signal {thread.parent_death_signal} when its parent ends" if thread.parent_death_signal else "",
        f"pending signals {thread.pending_signals:#x}" if thread.pending_signals else "",
    )
    return ", ".join(filter(None, facts))


def _filter_row(dump: Dump, number: int) -> tuple[str, ...]:
    found = dump.seccomp_filters[number]
    tasks = (task.pid for task in dump.tasks if any(t.seccomp_filter == number for t in task.thread_details))
    return (
        str(number),
        counted(found.instructions, "instruction"),
        f"flags {found.flags:#x}" if found.flags else "",
        "" if found.previous is None else f"after {found.previous}",
        _pids(tasks),
    )


def _by_resource(item: tuple[Limit, list[Pid]]) -> tuple[int, int, int]:
    return item[0].resource, item[0].soft, item[0].hard


def limit_in_words(limit: Limit) -> tuple[str, str, str]:
    """Name a resource with its soft and its hard limit."""
    known = limit.resource < len(_RESOURCES)
    name = _RESOURCES[limit.resource] if known else f"number {limit.resource}"
    soft, hard = ("unlimited" if value == _UNLIMITED else str(value) for value in (limit.soft, limit.hard))
    return name, soft, hard


def timers(dump: Dump, _: bool) -> Iterator[Table]:  # noqa: FBT001
    rows: list[tuple[str, ...]] = []
    for task in dump.tasks:
        for interval in task.interval_timers:
            seconds = (interval.remaining / _MICROSECONDS, interval.interval / _MICROSECONDS)
            rows.append((str(task.pid), interval_timer_in_words(interval), *_runs(*seconds), ""))
        for timer in task.posix_timers:
            seconds = (timer.remaining / _SECOND, timer.interval / _SECOND)
            thread = "" if timer.thread is None else f" to thread {timer.thread}"
            rows.append(
                (
                    str(task.pid),
                    f"POSIX timer {timer.id}, clock {timer.clock}",
                    *_runs(*seconds),
                    f"signal {timer.signal}{thread}",
                )
            )
    yield Table("Timers", "go on where they were", ("pid", "timer", "in", "every", "then"), rows)
    rings = [
        (str(task.pid), f"at {ring.address:x}", counted(ring.requests, "request"))
        for task in dump.tasks
        for ring in task.aio_rings
    ]
    note = "their requests must fit below fs.aio-max-nr"
    yield Table("Contexts of asynchronous input and output", note, ("pid", "address", "requests"), rings)


def interval_timer_in_words(timer: IntervalTimer) -> str:
    """Name the kind of timer."""
    return (
        f"interval timer {_INTERVAL_TIMERS[timer.kind] if timer.kind < len(_INTERVAL_TIMERS) else timer.kind}"
    )


def _runs(remaining: float, interval: float) -> tuple[str, str]:
    return f"in {remaining:g} s" if remaining else "not set", f"every {interval:g} s" if interval else ""


def control_groups(dump: Dump, _: bool) -> Iterator[Table]:  # noqa: FBT001
    sets = {found.id: found.members for found in dump.cgroups.sets if found.id != dump.outer_cgroup_set}
    members = _grouped(dump, lambda task: _members(task, sets))
    rows = [
        (found.hierarchy or "v2", escape(found.path), _pids(pids))
        for found, pids in sorted(members.items(), key=lambda item: (item[0].hierarchy, item[0].path))
    ]
    yield Table("Control groups", "other than criu's own", ("hierarchy", "path", "processes"), rows)
    directories = [
        (",".join(found.controllers) or "v2", escape(found.path), " ".join(found.properties))
        for found in dump.cgroups.directories
    ]
    note = "made where they are missing, with these values"
    yield Table("Directories of control groups", note, ("hierarchy", "path", "files"), directories)


def _members(task: Task, sets: dict[int, tuple[CgroupMember, ...]]) -> dict[CgroupMember, None]:
    used = {thread.cgroup_set for thread in task.thread_details if thread.cgroup_set is not None}
    return dict.fromkeys(member for number in sorted(used) for member in sets.get(number, ()))


def namespaces(dump: Dump, inventory: Inventory) -> Iterator[Table]:
    own = [(each.kind.value, str(each.id), _pids(each.tasks)) for each in inventory.namespaces]
    yield Table("Namespaces", "the dump's own: CRIU makes them anew", ("kind", "id", "processes"), own)
    handed = [(each.kind, str(each.namespace), escape(each.key)) for each in dump.external_namespaces]
    yield Table("Namespaces handed in", "need --inherit-fd or --external", ("kind", "id", "key"), handed)
    mounts = [_mount_row(mount) for mount in dump.mounts]
    yield Table("Mounts", "the dump brings its own mount namespace", _MOUNT_COLUMNS, mounts)
    devices = [
        (str(each.namespace), str(each.index), words.member(each.type), escape(each.name))
        for each in dump.net_devices
    ]
    yield Table(
        "Network devices", "of the dump's own namespaces", ("namespace", "index", "type", "name"), devices
    )
    names = [(str(each.namespace), f"host {each.node}", f"domain {each.domain}") for each in dump.host_names]
    yield Table("Host names", "", ("namespace", "host", "domain"), names)
    users = [
        (str(each.namespace), f"uids {_id_map(each.uids)}", f"gids {_id_map(each.gids)}")
        for each in dump.user_namespaces
    ]
    yield Table("User namespaces", "first id inside, outside, how many", ("namespace", "uids", "gids"), users)
    offsets = [
        (
            str(each.namespace),
            f"monotonic {each.monotonic / _SECOND:g} s",
            f"boottime {each.boottime / _SECOND:g} s",
        )
        for each in dump.time_offsets
    ]
    yield Table("Clocks", "as they were at dump", ("namespace", "monotonic", "boottime"), offsets)
    yield from _system_v(dump)


_MOUNT_COLUMNS = ("mount point", "source", "file system", "root", "options", "details")


def _mount_row(mount: Mount) -> tuple[str, ...]:
    details = (
        f"flags {mount.flags:#x}" if mount.flags else "",
        f"shared {mount.shared_id}" if mount.shared_id else "",
        f"follows {mount.master_id}" if mount.master_id else "",
        "" if mount.external is None else f"external {escape(mount.external)}",
        "by a plugin" if mount.plugin else "",
        "deleted" if mount.deleted else "",
    )
    return (
        escape(mount.mountpoint),
        escape(mount.source),
        f"type {mount.fstype}" if mount.fsname is None else escape(mount.fsname),
        escape(mount.root),
        escape(mount.options),
        ", ".join(filter(None, details)),
    )


def _id_map(ranges: Iterable[IdRange]) -> str:
    return ", ".join(f"{each.first} {each.lower_first} {each.count}" for each in ranges)


def _system_v(dump: Dump) -> Iterator[Table]:
    columns = ("key", "id", "mode", "what")
    queues = [
        (f"key {each.key:#x}", f"id {each.id}", f"0{each.mode:o}", counted(each.messages, "message"))
        for each in dump.sysv_queues
    ]
    yield Table("System V message queues", "in the images", columns, queues)
    sets = [
        (f"key {each.key:#x}", f"id {each.id}", f"0{each.mode:o}", counted(each.count, "semaphore"))
        for each in dump.sysv_semaphores
    ]
    yield Table("System V semaphores", "in the images", columns, sets)
