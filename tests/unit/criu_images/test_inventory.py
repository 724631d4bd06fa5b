from __future__ import annotations

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import PathKind, take_inventory
from llmux.criu_images._needs import Need, NeedKind
from llmux.criu_images._users import Role, User

from .conftest import DIRECTORY_MODE, HANDLE


@pytest.fixture
def inventory(maker):
    return lambda: take_inventory(read_dump(maker.directory))


def paths(inventory):
    return {(item.path, item.kind): item for item in inventory.paths}


def test_one_path_opened_twice_is_one_reference_that_demands_what_either_does(maker, inventory):
    log = maker.reg(4, "/log", size=5, build_id=[1])
    del log["reg"]["mode"]
    maker.whole(maker.reg(3, "/log", flags=0o2001), log, fds={3: 3, 4: 4})
    found = paths(inventory())[b"/log", PathKind.REGULAR]
    assert (found.size, found.mode, found.build_id, found.flags) == (5, 0o100644, b"\1\0\0\0", 0o2001)
    assert found.users == (User(7, Role.FD, 3), User(7, Role.FD, 4))


@pytest.mark.parametrize(
    ("name", "mode", "kind"),
    [
        ("/d", DIRECTORY_MODE, PathKind.DIRECTORY),
        ("/dev/null", 0o20666, PathKind.DEVICE),
        ("/dev/sda", 0o60666, PathKind.DEVICE),
        ("/f", 0o10666, PathKind.FIFO),
        ("/l", 0o120777, PathKind.SYMLINK),
        ("/s", 0o140777, PathKind.OTHER),
        ("/proc/7/maps", 0o100444, PathKind.PROC),
        ("/sys/kernel", DIRECTORY_MODE, PathKind.PROC),
        ("/process", 0o100444, PathKind.REGULAR),
    ],
)
def test_a_path_is_of_the_kind_its_mode_says(maker, inventory, name, mode, kind):
    maker.whole(maker.reg(3, name, mode=mode))
    assert (name.encode(), kind) in paths(inventory())


def test_a_link_remap_carries_the_users_size_and_mode_of_the_lost_name(maker, inventory):
    link = maker.reg(4, "/dev/shm/link_remap.4")
    del link["reg"]["mode"]
    maker.whole(maker.reg(3, "/dev/shm/sem.x", size=32, mode=0o100600), link, fds={5: 3})
    maker.remaps({"orig_id": 3, "remap_id": 4, "remap_type": 0})
    found = paths(inventory())
    lost = found[b"/dev/shm/sem.x", PathKind.LINKED_NAME]
    kept = found[b"/dev/shm/link_remap.4", PathKind.LINK_REMAP]
    assert kept.users == lost.users == (User(7, Role.FD, 5),)
    assert (kept.size, kept.mode) == (lost.size, lost.mode) == (32, 0o100600)
    assert kept.remap == lost.remap


def test_a_ghost_is_told_from_a_file_of_the_same_name(maker, inventory):
    maker.whole(maker.reg(3, "/tmp/x", size=1), maker.reg(4, "/tmp/x", size=2))
    maker.remaps({"orig_id": 3, "remap_id": 1, "remap_type": 1})
    maker.ghost(1)
    found = paths(inventory())
    assert found[b"/tmp/x", PathKind.GHOST_NAME].size == 1
    assert found[b"/tmp/x", PathKind.REGULAR].size == 2


def test_a_dead_process_below_proc_is_an_id(maker, inventory):
    maker.whole(maker.reg(3, "/proc/55/maps"))
    maker.remaps({"orig_id": 3, "remap_id": 55, "remap_type": 2})
    assert inventory().ids == (7, 8, 55)


def test_ids_are_all_that_must_be_free(maker, inventory):
    maker.whole()
    maker.tree({"pid": 7, "ppid": 0, "pgid": 5, "sid": 0, "threads": [7, 9]})
    assert inventory().ids == (5, 7, 9)


@pytest.mark.demand("pid-namespace")
def test_no_id_must_be_free_in_a_pid_namespace_that_criu_makes(maker, inventory):
    maker.whole()
    ids = {"vm_id": 1, "files_id": 7, "fs_id": 1, "sighand_id": 1}
    maker.inventory(root_ids=ids | {"pid_ns_id": 1})
    maker.image("ids-7.img", "IDS", "task_kobj_ids_entry", ids | {"pid_ns_id": 1})
    assert inventory().ids == (7, 8)
    maker.image("ids-7.img", "IDS", "task_kobj_ids_entry", ids | {"pid_ns_id": 2})
    assert inventory().ids == ()


def test_only_listeners_and_datagram_sockets_demand_a_path(maker, inventory):
    maker.whole(
        maker.unix(3, b"/tmp/l\0", state=10),
        maker.unix(4, b"/tmp/l\0", peer=105),
        maker.unix(5, peer=104),
        maker.unix(6, b"/tmp/d\0", type=2),
        maker.unix(8, b"/tmp/gone\0", state=10, deleted=True),
        maker.unix(9, b"\0name", state=10),
        fds={3: 3, 4: 4},
    )
    taken = inventory()
    sockets = {(item.path, item.kind) for item in taken.paths if "socket" in item.kind.value}
    assert sockets == {
        (b"/tmp/l", PathKind.SOCKET),
        (b"/tmp/d", PathKind.SOCKET),
        (b"/tmp/gone", PathKind.DELETED_SOCKET),
    }
    assert paths(taken)[b"/tmp/l", PathKind.SOCKET].users == (User(7, Role.FD, 3),)
    assert [item.bind_path for item in taken.sockets] == [
        b"/tmp/l",
        None,
        None,
        b"/tmp/d",
        b"/tmp/gone",
        None,
    ]
    assert [item.peer and item.peer.id for item in taken.sockets] == [None, 5, 4, None, None, None]


def test_a_socket_keeps_the_name_that_bind_was_given_and_refers_to_a_path_without_dots(maker, inventory):
    maker.whole(
        maker.unix(3, b"./here", state=10, name_dir="/srv"),
        maker.unix(4, b"//srv/./there//plain", state=10),
        maker.unix(5, b"/srv/there/../up", state=10),
        fds={3: 3, 4: 4, 5: 5},
    )
    assert [item.bind_path for item in inventory().sockets] == [
        b"/srv/here",
        b"/srv/there/plain",
        b"/srv/there/../up",
    ]


def test_a_relative_socket_binds_below_its_directory_which_must_be_there(maker, inventory):
    maker.whole(
        maker.unix(3, b"a/s\0", state=10, name_dir="/run"), maker.unix(4, b"t\0", state=10, name_dir="/")
    )
    found = paths(inventory())
    assert {(b"/run/a/s", PathKind.SOCKET), (b"/t", PathKind.SOCKET), (b"/run", PathKind.DIRECTORY)} <= set(
        found
    )


def test_an_external_peer_is_needed_alive(maker, inventory):
    maker.whole(
        maker.unix(3, b"/dev/log\0", state=10, type=2, uflags=1), maker.unix(4, type=2, peer=103), fds={3: 4}
    )
    taken = inventory()
    assert (b"/dev/log", PathKind.EXTERNAL_SOCKET) in paths(taken)
    assert taken.needs == (Need(NeedKind.EXTERNAL_PEER, "/dev/log", ()),)
    assert [item.bind_path for item in taken.sockets] == [None, None]


def test_what_is_queued(maker, inventory):
    maker.whole(maker.unix(3, peer=104), maker.unix(4, peer=103))
    packets = [{"id_for": 4, "length": 2}, {"id_for": 4, "length": 2}]
    maker.image("sk-queues.img", "SK_QUEUES", "sk_packet_entry", *packets, payload=b"xy")
    assert [(item.queued_bytes, item.queued_packets) for item in inventory().sockets] == [(0, 0), (4, 2)]


def test_ports_and_connections(maker, inventory):
    maker.whole(
        maker.inet(3),
        maker.inet(4, state=7, proto=17, type=2, src_port=53),
        maker.inet(5, state=1, proto=17, type=2, src_port=54, dst_port=55),
        maker.inet(6, state=1, src_port=80, dst_port=4000),
        maker.inet(8, state=7, src_port=0),
    )
    taken = inventory()
    assert [item.socket.id for item in taken.ports] == [3, 4, 5]
    assert [item.socket.id for item in taken.connections] == [6]
    assert [item.file.id for item in taken.others] == [8]
    assert taken.needs == (Need(NeedKind.ESTABLISHED_TCP, "127.0.0.1:80 to 0.0.0.0:4000", ()),)


def test_a_raw_socket_has_a_protocol_and_no_port(maker, inventory):
    maker.whole(maker.inet(3, state=7, proto=1, type=3, src_port=1))
    taken = inventory()
    assert (taken.ports, taken.connections) == ((), ())
    assert [item.file.id for item in taken.others] == [3]
    assert taken.needs == (Need(NeedKind.CAPABILITY, "CAP_NET_RAW, for a raw socket", ()),)


def test_watched_paths_but_for_ghosts(maker, inventory):
    watches = [
        {
            "id": 3,
            "i_ino": inode,
            "mask": 2,
            "ignored_mask": 0,
            "s_dev": 3,
            "wd": 1,
            "f_handle": HANDLE | {"path": path},
        }
        for inode, path in ((4, "/was"), (5, "/etc"))
    ]
    maker.whole(maker.owned(3, 8, "ify", flags=0, wd=watches), maker.reg(4, "/was"), fds={5: 3})
    maker.remaps({"orig_id": 4, "remap_id": 1, "remap_type": 1})
    maker.ghost(1, dev=3, ino=4)
    taken = inventory()
    watched = [item for item in taken.paths if item.kind is PathKind.WATCHED]
    assert [(item.path, item.users) for item in watched] == [(b"/etc", (User(7, Role.FD, 5),))]


@pytest.mark.demand("plugin", "locks")
def test_what_else_a_restore_has_to_be_given(maker, inventory):
    maker.whole(
        maker.reg(3, "file[1:2]", ext=True),
        maker.owned(4, 11, "tty", tty_info_id=5, flags=0),
        maker.owned(5, 16, "ext"),
        {"type": 6, "id": 6},
        fds={0: 4},
    )
    maker.inventory(plugins_entry={"plugins": ["cuda_plugin"]})
    lock = {"flag": 2, "type": 1, "pid": 7, "fd": 3, "start": 0, "len": 0}
    maker.image("filelocks.img", "FILE_LOCKS", "file_lock_entry", lock)
    assert [(need.kind, need.what) for need in inventory().needs] == [
        (NeedKind.PLUGIN, "cuda_plugin"),
        (NeedKind.INHERITED_FILE, "file[1:2]"),
        (NeedKind.TERMINAL, "tty 0x5"),
        (NeedKind.FILE_TYPE, "EXT"),
        (NeedKind.FILE_LOCK, "flock, the whole file"),
        (NeedKind.GPU, "of the kind that the dump's processes had"),
    ]


def test_paths_come_sorted(maker, inventory):
    maker.whole(maker.reg(3, "/z"), maker.reg(4, "/a"))
    assert [item.path for item in inventory().paths] == [b"/", b"/a", b"/bin/true", b"/z"]
