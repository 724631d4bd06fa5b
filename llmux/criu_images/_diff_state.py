"""What `diff` compares that is of no path: rights, limits, timers, control groups, namespaces, raw sockets. Pure.

What goes on by itself while a program runs (the time left on a timer, a clock) and what the kernel numbers anew is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmux.criu_images import _words as words
from llmux.criu_images._counted import counted
from llmux.criu_images._details import netlink_protocol
from llmux.criu_images._diff_side import Side
from llmux.criu_images._enums import LsmType, SeccompMode
from llmux.criu_images._paths import escape
from llmux.criu_images._records import (
    Dump,
    IdRange,
    Mount,
    NetlinkSocket,
    PacketSocket,
    SocketOptions,
    Task,
    Thread,
)
from llmux.criu_images._report_system import (
    credentials_in_words,
    interval_timer_in_words,
    limit_in_words,
    thread_in_words,
)

_NO_LOGIN = 2**32 - 1
_DUMPABLE = 1


def _facts(*facts: str) -> str:
    return ", ".join(filter(None, facts))


def rights(side: Side) -> Iterator[str]:
    """Say what each process is and may do; what several of its threads have alike, once."""
    if side.dump.lsm is not LsmType.NO_LSM:
        yield f"security module {words.member(side.dump.lsm)}"
    for task in side.dump.tasks:
        said = (
            *_of_task(task),
            *(text for thread in task.thread_details for text in _of_thread(side, thread)),
        )
        yield from (f"{side.named(task)} {text}" for text in dict.fromkeys(filter(None, said)))


def _of_task(task: Task) -> Iterator[str]:
    yield _facts(
        f"oom_score_adj {task.oom_score_adj}" if task.oom_score_adj else "",
        "" if task.login_uid in {None, _NO_LOGIN} else f"login uid {task.login_uid}",
        "" if task.dumpable in {None, _DUMPABLE} else f"dumpable {task.dumpable}",
        "subreaper" if task.child_subreaper else "",
        "rseq" if any(thread.rseq for thread in task.thread_details) else "",
    )


def _of_thread(side: Side, thread: Thread) -> Iterator[str]:
    if thread.credentials is not None:
        yield "  ".join(filter(None, credentials_in_words(thread.credentials)))
    yield thread_in_words(thread)
    if thread.seccomp is not SeccompMode.DISABLED:
        yield f"seccomp {_facts(words.member(thread.seccomp), *_filters(side.dump, thread.seccomp_filter))}"


def _filters(dump: Dump, number: int | None) -> Iterator[str]:
    """Follow the chain of filters from the last one on; an image may lie about it."""
    seen: set[int] = set()
    while number is not None and number < len(dump.seccomp_filters) and number not in seen:
        seen.add(number)
        found = dump.seccomp_filters[number]
        flags = f" with flags {found.flags:#x}" if found.flags else ""
        yield f"{counted(found.instructions, 'instruction')}{flags}"
        number = found.previous


def limits(side: Side) -> Iterator[str]:
    """Say what limits a process has, where the other dump has that process too: else it is news by itself."""
    for task in side.dump.tasks:
        for limit in task.limits if side.named(task) in side.shared else ():
            resource, soft, hard = limit_in_words(limit)
            yield f"{side.named(task)} {resource} soft {soft}, hard {hard}"


def timers(side: Side) -> Iterator[str]:
    for task in side.dump.tasks:
        name = side.named(task)
        for interval in task.interval_timers:
            every = _every(interval.remaining, interval.interval, 10**6)
            yield f"{name} {interval_timer_in_words(interval)}, {every}"
        for timer in task.posix_timers:
            every = _every(timer.remaining, timer.interval, 10**9)
            to = "" if timer.thread is None else " to a thread"
            yield f"{name} POSIX timer {timer.id}, clock {timer.clock}, {every}, signal {timer.signal}{to}"
        for ring in task.aio_rings:
            yield f"{name} context of {counted(ring.requests, 'asynchronous request')}"


def _every(remaining: int, interval: int, second: int) -> str:
    if interval:
        return f"every {interval / second:g} s"
    return "once" if remaining else "not set"


def control_groups(side: Side) -> Iterator[str]:
    dump = side.dump
    sets = {found.id: found.members for found in dump.cgroups.sets if found.id != dump.outer_cgroup_set}
    for task in dump.tasks:
        used = dict.fromkeys(thread.cgroup_set for thread in task.thread_details)
        members = (member for number in used if number is not None for member in sets.get(number, ()))
        yield from (f"{side.named(task)} in {one.hierarchy or 'v2'} {escape(one.path)}" for one in members)
    for found in dump.cgroups.directories:
        properties = f"  {' '.join(found.properties)}" if found.properties else ""
        yield f"directory {','.join(found.controllers) or 'v2'} {escape(found.path)}{properties}"


def raw_sockets(side: Side) -> Iterator[str]:
    """Say how the packet and netlink sockets are set."""
    for file in side.dump.files.values():
        match file:
            case PacketSocket():
                where = f"device {file.interface}" if file.interface else "all devices"
                what = f"{words.socket_type(file.type)}, protocol {file.protocol:#06x}, {where}"
                yield f"packetsk {_facts(what, socket_options(file.options))}"
            case NetlinkSocket():
                groups = (
                    f"groups {' '.join(f'{word:#x}' for word in file.groups)}" if any(file.groups) else ""
                )
                yield f"netlinksk {_facts(netlink_protocol(file), groups, socket_options(file.options))}"
            case _:
                pass


def socket_options(options: SocketOptions) -> str:
    return _facts(
        "" if options.device is None else f"device {escape(options.device)}",
        "" if options.mark is None else f"mark {options.mark:#x}",
        f"filter of {options.filter_length}" if options.filter_length else "",
    )


def namespaces(side: Side) -> Iterator[str]:
    for found in side.inventory.namespaces:
        yield f"{found.kind.value} of {', '.join(map(side.called, found.tasks))}"
    dump = side.dump
    yield from (f"{each.kind} handed in as {escape(each.key)}" for each in dump.external_namespaces)
    yield from map(_mount, dump.mounts)
    for name in dump.host_names:
        yield f"host name {name.node}{f', domain {name.domain}' if name.domain else ''}"
    for device in dump.net_devices:
        yield f"network device {device.index} {words.member(device.type)} {escape(device.name)}"
    for user in dump.user_namespaces:
        yield f"user ids {_ranges(user.uids)}, group ids {_ranges(user.gids)}"
    yield from _system_v(dump)


def _mount(mount: Mount) -> str:
    details = _facts(
        f"type {mount.fstype}" if mount.fsname is None else escape(mount.fsname),
        "" if mount.root == b"/" else f"root {escape(mount.root)}",
        f"flags {mount.flags:#x}" if mount.flags else "",
        escape(mount.options),
        "" if mount.external is None else f"external {escape(mount.external)}",
    )
    return f"mount {escape(mount.mountpoint)} from {escape(mount.source)}  {details}"


def _ranges(ranges: Iterable[IdRange]) -> str:
    return "; ".join(f"{each.first} {each.lower_first} {each.count}" for each in ranges)


def _system_v(dump: Dump) -> Iterator[str]:
    for segment in dump.sysv_segments:
        size = counted(segment.size, "byte")
        yield f"System V segment {segment.id}, key {segment.key:#x}, mode 0{segment.mode:o}, {size}"
    for queue in dump.sysv_queues:
        waiting = counted(queue.messages, "message")
        yield f"System V queue {queue.id}, key {queue.key:#x}, mode 0{queue.mode:o}, {waiting}"
    for found in dump.sysv_semaphores:
        count = counted(found.count, "semaphore")
        yield f"System V semaphores {found.id}, key {found.key:#x}, mode 0{found.mode:o}, {count}"
