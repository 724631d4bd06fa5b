"""Each change of what a process or a namespace is given is told, in its kind; what goes on by itself is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmux.criu_images._diff import find_changes
from llmux.criu_images._dump import read_dump
from llmux.criu_images._enums import LsmType, Shutdown, SocketType
from llmux.criu_images._ids import FileId, NamespaceId, SocketInode
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import (
    CgroupMember,
    Cgroups,
    CgroupSet,
    IdRange,
    NetlinkSocket,
    PacketSocket,
    SeccompFilter,
    SocketOptions,
    SysvSegment,
)

from .live import NAMES, dump_of, inventory_of
from .test_report_system import OWN, OWNER, THREAD, detailed


@pytest.fixture
def full(maker):
    return detailed(maker)[0]


def task_with(**fields):
    return lambda dump: replace(dump, tasks=(replace(dump.tasks[0], **fields),))


def thread_with(**fields):
    return task_with(thread_details=(replace(THREAD, **fields),))


def first(name, /, **fields):
    return lambda dump: replace(dump, **{name: (replace(getattr(dump, name)[0], **fields),)})


def timer_with(name, /, **fields):
    return lambda dump: task_with(**{name: (replace(getattr(dump.tasks[0], name)[0], **fields),)})(dump)


def changed(dump, change):
    other = change(dump)
    found = find_changes((dump, take_inventory(dump)), (other, take_inventory(other)))
    return {(item.kind, item.what) for item in found if item.number > 0 and item.kind != "need"}


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (thread_with(credentials=replace(OWNER, uid=7)), "right", "uid 7/0/1000/1000"),
        (thread_with(credentials=replace(OWNER, groups=(9,))), "right", "groups 9"),
        (thread_with(credentials=replace(OWNER, effective=0)), "right", "effective 0x0"),
        (thread_with(credentials=replace(OWNER, lsm_profile="mine")), "right", "profile mine"),
        (thread_with(credentials=replace(OWNER, no_new_privileges=False)), "right", "secure bits 0x3, profile"),
        (thread_with(nice=3), "right", "nice 3"),
        (thread_with(policy=2), "right", "policy rr"),
        (thread_with(seccomp_filter=0), "right", "seccomp filter, 5 instructions"),
        (first("seccomp_filters", instructions=8), "right", "seccomp filter"),
        (task_with(oom_score_adj=-5), "right", "oom_score_adj -5"),
        (task_with(dumpable=2), "right", "dumpable 2"),
        (task_with(login_uid=1000), "right", "login uid 1000"),
        (lambda dump: replace(dump, lsm=LsmType.APPARMOR), "right", "security module apparmor"),
        (task_with(thread_details=(replace(THREAD, rseq=False),), dumpable=0), "right", "dumpable 0, subreaper"),
        (timer_with("limits", hard=4096), "limit", "nofile soft 1024, hard 4096"),
        (timer_with("interval_timers", interval=10**6), "timer", "interval timer real, every 1 s"),
        (timer_with("interval_timers", kind=77), "timer", "interval timer 77, every 2 s"),
        (timer_with("posix_timers", signal=12), "timer", "POSIX timer 3, clock 1, once, signal 12 to a thread"),
        (timer_with("posix_timers", remaining=0), "timer", "clock 1, not set, signal 10"),
        (timer_with("aio_rings", requests=64), "timer", "context of 64 asynchronous requests"),
        (
            lambda dump: replace(dump, cgroups=replace(dump.cgroups, directories=())),
            "cgroup",
            None,
        ),
        (
            lambda dump: replace(
                dump, cgroups=Cgroups((CgroupSet(3, (CgroupMember("", RawPath(b"/b")),)),), dump.cgroups.directories)
            ),
            "cgroup",
            "in v2 /b",
        ),
        (first("mounts", flags=1), "namespace", "mount /data from tmpfs  ext4, flags 0x1, size=1k, external key"),
        (first("host_names", node="other"), "namespace", "host name other, domain example"),
        (first("net_devices", name=RawPath(b"eth1")), "namespace", "network device 3 veth eth1"),
        (first("user_namespaces", uids=(IdRange(0, 5, 6),)), "namespace", "user ids 0 5 6, group ids "),
        (first("external_namespaces", key=RawPath(b"k")), "namespace", "net handed in as k"),
        (first("sysv_queues", messages=9), "namespace", "System V queue 1, key 0x10, mode 0600, 9 messages"),
        (first("sysv_semaphores", count=1), "namespace", "System V semaphores 2, key 0x11, mode 0644, 1 semaphore"),
        (
            lambda dump: replace(dump, sysv_segments=(SysvSegment(1, 2, 30, 0o600),)),
            "namespace",
            "System V segment 2, key 0x1, mode 0600, 30 bytes",
        ),
    ],
)  # fmt: skip
def test_a_change_is_told(full, change, kind, said):
    found = changed(full, change)
    gone = changed(change(full), lambda _: full)
    assert {one for one, _ in (*found, *gone)} == {kind}
    assert said is None or any(said in what for _, what in found)


@pytest.mark.parametrize(
    "change",
    [
        timer_with("interval_timers", remaining=1),
        timer_with("posix_timers", remaining=1),
        timer_with("aio_rings", address=0x9000),
        first("time_offsets", monotonic=5),
        thread_with(extended_states=0xFF),
    ],
)
def test_what_goes_on_by_itself_is_not(full, change):
    assert changed(full, change) == set()


def test_filters_that_lie_about_those_before_them_end(full):
    for previous in (0, 1, 77):
        lying = replace(full, seccomp_filters=(full.seccomp_filters[0], SeccompFilter(9, previous, 0)))
        assert changed(full, lambda _, lying=lying: lying)
    assert changed(full, thread_with(seccomp_filter=10**9))


def socket_of(options, **fields):
    netlink = NetlinkSocket(FileId(50), SocketInode(1), 0, 7, (1,), NamespaceId(0), options)
    packet = PacketSocket(FileId(51), SocketType.RAW, 3, 2, OWN, options)
    return lambda dump: replace(dump, files=dump.files | {50: replace(netlink, **fields), 51: packet})


def test_how_packet_and_netlink_sockets_are_set(full):
    plain = socket_of(SocketOptions())(full)
    marked = SocketOptions(RawPath(b"eth0"), 7, 4)
    assert changed(full, lambda _: plain) == {
        ("socket", "netlinksk route, groups 0x1"),
        ("socket", "packetsk raw, protocol 0x0003, device 2"),
    }
    assert changed(plain, socket_of(marked)) == {
        ("socket", "netlinksk route, groups 0x1, device eth0, mark 0x7, filter of 4"),
        ("socket", "packetsk raw, protocol 0x0003, device 2, device eth0, mark 0x7, filter of 4"),
    }
    assert changed(plain, socket_of(SocketOptions(), inode=SocketInode(9), port=8)) == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_fixture_does_not_differ_from_itself(name):
    one = (dump_of(name), inventory_of(name))
    assert find_changes(one, one, ignore_pids=True) == ()


def test_a_socket_that_is_shut_down(maker):
    maker.whole(maker.unix(3, b"/s\0", state=10), maker.inet(4), fds={5: 3, 6: 4})
    dump = read_dump(maker.directory)
    shut = {
        number: replace(file, shutdown=Shutdown.READ) if hasattr(file, "shutdown") else file
        for number, file in dump.files.items()
    }
    assert changed(dump, lambda _: replace(dump, files=shut)) == {
        ("unix", "stream LISTEN /s  shut down read"),
        ("inet", "tcp LISTEN 127.0.0.1:80  shut down read"),
    }
