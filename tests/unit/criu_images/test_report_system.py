from __future__ import annotations

import json
from dataclasses import replace

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._enums import NamespaceKind, NetDeviceType, SeccompMode
from llmux.criu_images._ids import NamespaceId, Pid
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import (
    AioRing,
    CgroupDirectory,
    CgroupMember,
    Cgroups,
    CgroupSet,
    Credentials,
    ExternalNamespace,
    HostName,
    IdRange,
    IntervalTimer,
    Limit,
    Mount,
    NetDevice,
    PosixTimer,
    SeccompFilter,
    SysvQueue,
    SysvSemaphores,
    Thread,
    TimeOffsets,
    UserNamespace,
)
from llmux.criu_images._report import render
from llmux.criu_images._sections import Section

from .published import check
from .shown import render_json

OWN = NamespaceId(12)
OWNER = Credentials(
    *(1000, 1000, 0, 1000, 1000, 1000, 1000, 1000), (4, 5), 1, 2, 4, 8, 16, 3, True, "docker-default", None
)
THREAD = Thread(Pid(7), "main", OWNER, SeccompMode.FILTER, 1, 1, 9, -5, True, 15, 3, 2, 7)


def detailed(maker):
    """Make a dump with something in every table, which no single program has."""
    maker.whole(maker.reg(3, "/log"), fds={0: 3})
    maker.task(7, {0: 3}, maker.vma(0x1000, 1 << 7, 3))
    dump = read_dump(maker.directory)
    task = replace(
        dump.tasks[0],
        thread_details=(THREAD,),
        limits=(Limit(7, 1024, 2**64 - 1), Limit(99, 1, 2)),
        interval_timers=(IntervalTimer(0, 1_500_000, 2_000_000),),
        posix_timers=(PosixTimer(3, 1, 4, 10, Pid(8), 5 * 10**9, 0),),
        aio_rings=(AioRing(0x7000, 128),),
        namespaces=((NamespaceKind.UTS, OWN),),
        oom_score_adj=100,
        child_subreaper=True,
        stop_signal=19,
        pending_signals=1,
        dumpable=0,
    )
    mount = Mount(
        *(
            1,
            2,
            8,
            RawPath(b"/"),
            RawPath(b"/data"),
            RawPath(b"tmpfs"),
            OWN,
            4,
            RawPath(b"size=1k"),
            RawPath(b"ext4"),
        ),
        *(5, 6, RawPath(b"key"), True, True),
    )
    dump = replace(
        dump,
        tasks=(task,),
        mounts=(mount,),
        outer_namespaces=((NamespaceKind.UTS, NamespaceId(1)),),
        external_namespaces=(ExternalNamespace("net", OWN, RawPath(b"outside")),),
        net_devices=(NetDevice(OWN, NetDeviceType.VETH, 3, RawPath(b"eth0")),),
        host_names=(HostName(OWN, "engine", "example"),),
        user_namespaces=(UserNamespace(OWN, (IdRange(0, 100000, 65536),), ()),),
        time_offsets=(TimeOffsets(OWN, 10**9, 2 * 10**9),),
        sysv_queues=(SysvQueue(0x10, 1, 0o600, 2),),
        sysv_semaphores=(SysvSemaphores(0x11, 2, 0o644, 3),),
        cgroups=Cgroups(
            (CgroupSet(3, (CgroupMember("cpu", RawPath(b"/a b")),)), CgroupSet(1, (CgroupMember("", RawPath(b"/outer")),))),
            (CgroupDirectory(("cpu", "cpuacct"), RawPath(b"/a b"), ("cpu.shares",)),),
        ),
        outer_cgroup_set=1,
        seccomp_filters=(SeccompFilter(5, None, 0), SeccompFilter(9, 0, 2)),
    )  # fmt: skip
    return dump, take_inventory(dump)


def lines_of(maker, section):
    return [" ".join(line.split()) for line in render(*detailed(maker), section).splitlines()]


@pytest.mark.parametrize(
    ("section", "line"),
    [
        (Section.DESCRIPTOR, "7 0 /log"),
        (Section.MAPPING, "7 1000-2000 r-- shared 0x0 /log"),
        (
            Section.RIGHT,
            (
                "uid 1000/0/1000/1000 gid 1000 groups 4 5 permitted 0x2 effective 0x4 inheritable 0x1, bounding 0x8, "
                "ambient 0x10 no new privileges, secure bits 0x3, profile docker-default 7"
            ),
        ),
        (
            Section.RIGHT,
            "7 main policy fifo, priority 9, nice -5, signal 15 when its parent ends, pending signals 0x2",
        ),
        (Section.RIGHT, "0 5 instructions"),
        (Section.RIGHT, "1 9 instructions flags 0x2 after 0 7"),
        (Section.RIGHT, "nofile 1024 unlimited 7"),
        (Section.RIGHT, "number 99 1 2 7"),
        (Section.TIMER, "7 interval timer real in 1.5 s every 2 s"),
        (Section.TIMER, "7 POSIX timer 3, clock 1 in 5 s signal 10 to thread 8"),
        (Section.TIMER, "7 at 7000 128 requests"),
        (Section.CGROUP, "cpu /a b 7"),
        (Section.CGROUP, "cpu,cpuacct /a b cpu.shares"),
        (Section.NAMESPACE, "uts 12 7"),
        (Section.NAMESPACE, "net 12 outside"),
        (
            Section.NAMESPACE,
            "/data tmpfs ext4 / size=1k flags 0x4, shared 5, follows 6, external key, by a plugin, deleted",
        ),
        (Section.NAMESPACE, "12 3 veth eth0"),
        (Section.NAMESPACE, "12 host engine domain example"),
        (Section.NAMESPACE, "12 uids 0 100000 65536 gids"),
        (Section.NAMESPACE, "12 monotonic 1 s boottime 2 s"),
        (Section.NAMESPACE, "key 0x10 id 1 0600 2 messages"),
        (Section.NAMESPACE, "key 0x11 id 2 0644 3 semaphores"),
    ],
)
def test_what_each_section_says(maker, section, line):
    assert line in lines_of(maker, section)


def test_the_group_of_criu_itself_is_not_listed(maker):
    assert not [line for line in lines_of(maker, Section.CGROUP) if "outer" in line]


def test_what_sets_a_task_apart(maker):
    (line,) = [line for line in lines_of(maker, Section.TASK) if line.startswith("7")]
    assert "by signal 19, pending signals 0x1, oom_score_adj 100, not dumpable, subreaper" in line


def test_its_json_is_what_the_schema_says(maker):
    shown = json.loads(render_json(*detailed(maker)))
    check("show", json.dumps(shown))
    assert shown["threads"][0]["credentials"]["groups"] == [4, 5]
    assert [found["outer"] for found in shown["cgroup_sets"]] == [False, True]
    assert shown["outer_namespaces"] == {"uts": 1}
    assert shown["tasks"][0]["namespaces"] == {"uts": 12}
    assert shown["limits"][0] == {"pid": 7, "resource": 7, "soft": 1024, "hard": 2**64 - 1}
