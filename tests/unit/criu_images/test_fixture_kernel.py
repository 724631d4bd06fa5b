"""Real dumps against what the kernel said of namespaces, mounts, devices, of sockets that have no name, and of what a process carries along."""

from __future__ import annotations

import pytest

from llmux.criu_images._enums import SocketType, TaskState
from llmux.criu_images._paths import escape
from llmux.criu_images._records import InetSocket, NetlinkSocket, PacketSocket

from . import live
from .live import dump_of

UNLIMITED = (1 << 64) - 1
TOLD = [name for name in live.NAMES if live.told_all(name)]
# Where the tree is in a user namespace of its own, criu sees other ids than we do.
PLAIN = [name for name in TOLD if "user" not in live.owned(name)]


def living(name):
    """Pair each decoded task that lives with what /proc said of it."""
    seen = {task["pid"]: task for task in live.live(name)["tasks"]}
    return [(task, seen[task.pid]) for task in dump_of(name).tasks if task.state is not TaskState.DEAD]


def inodes(name, kind):
    return {file.inode: file for file in dump_of(name).files.values() if isinstance(file, kind)}


@pytest.mark.parametrize("name", TOLD)
def test_namespaces_are_the_trees_own_where_the_kernel_says_so(name):
    dump = dump_of(name)
    (root,) = (task for task in dump.tasks if task.pid == dump.root_task)
    inner = dict(root.namespaces)
    own = {kind.value for kind, number in dump.outer_namespaces if inner.get(kind, number) != number}
    assert own == live.owned(name)
    assert (not dump.mounts) == ("mnt" not in own)
    assert not dump.net_devices or "net" in own  # runc asks for an empty one: `--empty-ns net`.


@pytest.mark.parametrize("name", TOLD)
def test_mounts(name):
    """CRIU leaves out nothing that the tree has mounted."""
    seen = {mount["path"]: mount for mount in live.live(name)["mounts"]} if "mnt" in live.owned(name) else {}
    mounts = {mount.mountpoint.decode(): mount for mount in dump_of(name).mounts}
    assert mounts.keys() == seen.keys()
    for path, mount in mounts.items():
        assert mount.external or mount.root.decode() == seen[path]["root"]
        told = {f"shared:{mount.shared_id}": mount.shared_id, f"master:{mount.master_id}": mount.master_id}
        assert {word for word, number in told.items() if number} == set(seen[path]["shared"])


@pytest.mark.parametrize("name", TOLD)
def test_network_devices(name):
    dump = dump_of(name)
    if dump.net_devices:
        seen = {(device["index"], device["name"].encode()) for device in live.live(name)["devices"]}
        assert {(device.index, device.name) for device in dump.net_devices} == seen


@pytest.mark.parametrize("name", TOLD)
def test_host_name_and_mapped_ids(name):
    dump, told = dump_of(name), live.live(name)
    for host in dump.host_names:
        assert host.node == told["host_name"]
    for namespace in dump.user_namespaces:
        for ranges, seen in ((namespace.uids, told["uid_map"]), (namespace.gids, told["gid_map"])):
            assert [[each.first, each.lower_first, each.count] for each in ranges] == seen
    assert bool(dump.host_names) == ("uts" in live.owned(name))
    assert bool(dump.user_namespaces) == ("user" in live.owned(name))


@pytest.mark.parametrize("name", TOLD)
def test_packet_sockets(name):
    """Their inodes are in no image, so they are compared as they are."""
    sockets = [file for file in dump_of(name).files.values() if isinstance(file, PacketSocket)]
    decoded = [
        (each.type.value, int.from_bytes(each.protocol.to_bytes(2, "little"), "big"), each.interface)
        for each in sockets
    ]
    seen = [
        (int(each["Type"]), int(each["Proto"], 16), int(each["Iface"])) for each in live.live(name)["packet"]
    ]
    assert sorted(decoded) == sorted(seen)


@pytest.mark.parametrize("name", TOLD)
def test_netlink_sockets(name):
    seen = {int(each["Inode"]): each for each in live.live(name)["netlink"]}
    for inode, file in inodes(name, NetlinkSocket).items():
        assert (file.protocol, file.port) == (int(seen[inode]["Eth"]), int(seen[inode]["Pid"]))
        assert file.groups[0] == int(seen[inode]["Groups"], 16)


@pytest.mark.parametrize("name", TOLD)
def test_raw_sockets_have_their_protocol_where_others_have_a_port(name):
    sockets = [file for file in inodes(name, InetSocket).values() if file.type is SocketType.RAW]
    seen = [int(each["local_address"].rpartition(":")[2], 16) for each in live.live(name)["raw"]]
    assert sorted(file.protocol for file in sockets) == sorted(seen)


@pytest.mark.parametrize("name", PLAIN)
def test_rights(name):
    for task, seen in living(name):
        found = task.thread_details[0].credentials
        assert sorted(found.groups) == seen["groups"]
        assert {
            "CapInh": found.inheritable,
            "CapPrm": found.permitted,
            "CapEff": found.effective,
            "CapBnd": found.bounding,
            "CapAmb": found.ambient,
        } == seen["capabilities"]
        assert found.no_new_privileges == seen["no_new_privileges"]


@pytest.mark.parametrize("name", TOLD)
def test_limits(name):
    for task, seen in living(name):
        for limit, told in zip(task.limits, seen["limits"], strict=True):
            assert [limit.soft, limit.hard] == [
                UNLIMITED if word == "unlimited" else int(word) for word in told
            ]


@pytest.mark.parametrize("name", TOLD)
def test_signals_that_wait_and_the_score_of_the_oom_killer(name):
    for task, seen in living(name):
        waiting = (task.thread_details[0].pending_signals, task.pending_signals)
        assert waiting == tuple(mask.bit_count() for mask in seen["pending"])
        assert (task.oom_score_adj or 0) == seen["oom_score_adj"]


@pytest.mark.parametrize("name", TOLD)
def test_timers(name):
    for task, seen in living(name):
        ids = sorted(int(line.removeprefix("ID: ")) for line in seen["timers"] if line.startswith("ID: "))
        assert sorted(timer.id for timer in task.posix_timers) == ids


@pytest.mark.parametrize("name", TOLD)
def test_control_groups(name):
    sets = {each.id: each for each in dump_of(name).cgroups.sets}
    for task, seen in living(name):
        found = sets.get(task.thread_details[0].cgroup_set)
        if found is not None:
            told = {tuple(line.split(":", 2)[1:]) for line in seen["cgroup"]}
            assert {(each.hierarchy, escape(each.path)) for each in found.members} <= told
