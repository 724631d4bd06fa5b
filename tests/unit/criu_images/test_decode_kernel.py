"""Images of namespaces, control groups, filters and the CPU, made with known values."""

from __future__ import annotations

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._enums import NetDeviceType
from llmux.criu_images._records import (
    AutofsMount,
    BinaryFormat,
    CgroupDirectory,
    CgroupMember,
    CgroupSet,
    Cpu,
    ExternalNamespace,
    HostName,
    IdRange,
    NetDevice,
    SeccompFilter,
    SysvQueue,
    SysvSemaphores,
    TimeOffsets,
    UserNamespace,
)
from llmux.criu_images.errors import DamagedImage

DESCRIPTION = dict.fromkeys(("uid", "gid", "cuid", "cgid"), 0) | {"key": 0x51, "mode": 0o640, "id": 3}


@pytest.fixture
def read(maker):
    maker.whole()

    def image(name, magic, message, *entries, payload=b""):
        maker.image(name, magic, message, *entries, payload=payload)
        return read_dump(maker.directory)

    return image


def test_system_v_queues_and_semaphores(read):
    queue = {"desc": DESCRIPTION, "qbytes": 16384, "qnum": 0}
    assert read("ipcns-msg-9.img", "IPCNS_MSG", "ipc_msg_entry", queue).sysv_queues == (
        SysvQueue(key=0x51, id=3, mode=0o640, messages=0),
    )
    semaphores = {"desc": DESCRIPTION, "nsems": 5}
    found = read("ipcns-sem-9.img", "IPCNS_SEM", "ipc_sem_entry", semaphores, semaphores, payload=bytes(16))
    assert found.sysv_semaphores == (SysvSemaphores(key=0x51, id=3, mode=0o640, count=5),) * 2


def test_the_values_of_semaphores_fill_whole_words(read):
    with pytest.raises(
        DamagedImage, match=r"ipcns-sem-9\.img, entry 0, .*a payload of 16 bytes where 10 are left"
    ):
        read(
            "ipcns-sem-9.img",
            "IPCNS_SEM",
            "ipc_sem_entry",
            {"desc": DESCRIPTION, "nsems": 5},
            payload=bytes(10),
        )


def test_host_names_are_printable(read):
    names = {"nodename": "box\n1", "domainname": "(none)"}
    found = read("utsns-11.img", "UTSNS", "utsns_entry", names)
    assert found.host_names == (HostName(11, "box\\n1", "(none)"),)


def test_user_namespaces(read):
    maps = {
        "uid_map": [{"first": 0, "lower_first": 100_000, "count": 65_536}],
        "gid_map": [{"first": 0, "lower_first": 5, "count": 1}, {"first": 1, "lower_first": 9, "count": 2}],
    }
    assert read("userns-12.img", "USERNS", "userns_entry", maps).user_namespaces == (
        UserNamespace(12, (IdRange(0, 100_000, 65_536),), (IdRange(0, 5, 1), IdRange(1, 9, 2))),
    )


def test_clocks_of_a_time_namespace(read):
    clocks = {"monotonic": {"tv_sec": 3, "tv_nsec": 7}, "boottime": {"tv_sec": 4, "tv_nsec": 999_999_999}}
    found = read("timens-0.img", "TIMENS", "timens_entry", clocks)
    assert found.time_offsets == (TimeOffsets(0, monotonic=3_000_000_007, boottime=4_999_999_999),)


def test_network_devices_and_external_namespaces(read):
    device = {"type": 2, "ifindex": 4, "mtu": 1500, "flags": 0x1043, "name": "eth0"}
    found = read("netdev-13.img", "NETDEV", "net_device_entry", device | {"type": 1, "name": "lo"}, device)
    assert found.net_devices == (
        NetDevice(13, NetDeviceType.LOOPBACK, 4, b"lo"),
        NetDevice(13, NetDeviceType.VETH, 4, b"eth0"),
    )
    found = read("netns-13.img", "NETNS", "netns_entry", {"ext_key": "net[1]"})
    assert found.external_namespaces == (ExternalNamespace("net", 13, b"net[1]"),)
    assert read("pidns-14.img", "PIDNS", "pidns_entry", {}).external_namespaces == found.external_namespaces
    found = read("pidns-14.img", "PIDNS", "pidns_entry", {"ext_key": "pid"})
    assert found.external_namespaces[0] == ExternalNamespace("pid", 14, b"pid")


def test_control_groups_are_named_from_their_root(read):
    leaf = {
        "dir_name": "b/c",
        "properties": [{"name": "cpu.max", "value": "max"}, {"name": "cpu.weight", "value": "1"}],
    }
    groups = {
        "sets": [{"id": 1, "ctls": [{"name": "", "path": "/a/b"}, {"name": "name=systemd", "path": "/x"}]}],
        "controllers": [
            {"cnames": ["cpu", "cpuacct"], "dirs": [{"dir_name": "/a", "children": [leaf]}]},
            {"cnames": [], "dirs": [{"dir_name": "z"}]},
        ],
    }
    found = read("cgroup.img", "CGROUP", "cgroup_entry", groups).cgroups
    assert found.sets == (CgroupSet(1, (CgroupMember("", b"/a/b"), CgroupMember("name=systemd", b"/x"))),)
    assert found.directories == (
        CgroupDirectory(("cpu", "cpuacct"), b"/a", ()),
        CgroupDirectory(("cpu", "cpuacct"), b"/a/b/c", ("cpu.max", "cpu.weight")),
        CgroupDirectory((), b"/z", ()),
    )


@pytest.mark.demand("damaged")
def test_control_groups_nested_without_end_are_refused(read):
    tree = {"dir_name": "leaf"}
    for _ in range(60):
        tree = {"dir_name": "g", "children": [tree]}
    deep = {"controllers": [{"cnames": ["cpu"], "dirs": [tree]}]}
    assert len(read("cgroup.img", "CGROUP", "cgroup_entry", deep).cgroups.directories) == 61
    for _ in range(200):
        tree = {"dir_name": "g", "children": [tree]}
    deep = {"controllers": [{"cnames": ["cpu"], "dirs": [tree]}]}
    with pytest.raises(DamagedImage, match=r"cgroup\.img, entry 0, byte \d+: not a cgroup_entry"):
        read("cgroup.img", "CGROUP", "cgroup_entry", deep)


def test_seccomp_filters_are_counted_in_instructions(read):
    filters = {"seccomp_filters": [{"filter": bytes(24)}, {"filter": bytes(8), "prev": 0, "flags": 2}]}
    assert read("seccomp.img", "SECCOMP", "seccomp_entry", filters).seccomp_filters == (
        SeccompFilter(instructions=3, previous=None, flags=0),
        SeccompFilter(instructions=1, previous=0, flags=2),
    )


def test_cpus(read):
    old = {"vendor_id": 1, "cpu_family": 6, "model": 143, "stepping": 8, "capability_ver": 2}
    new = old | {"model_id": "Xeon(R)", "xfeatures_mask": 0x602E7}
    assert read("cpuinfo.img", "CPUINFO", "cpuinfo_entry", {"x86_entry": [old, new]}).cpus == (
        Cpu(6, 143, None, 0),
        Cpu(6, 143, "Xeon(R)", 0x602E7),
    )


def test_automounts_and_binary_formats(read):
    mount = dict.fromkeys(("fd", "timeout", "minproto", "maxproto", "mode"), 0) | {"pgrp": 88}
    assert read("autofs-21.img", "AUTOFS", "autofs_entry", mount).autofs_mounts == (AutofsMount(21, 88),)
    java = {"name": "java", "enabled": True, "interpreter": "/usr/bin/java", "extension": "jar"}
    found = read("binfmt-misc.img", "BINFMT_MISC", "binfmt_misc_entry", java)
    assert found.binary_formats == (BinaryFormat(b"java", b"/usr/bin/java", enabled=True),)
