from __future__ import annotations

import pytest

from llmux.criu_images._capture_entries import lock_entries, port_entries, socket_entries
from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._safefs import Tree

IDS = {"vm_id": 1, "files_id": 7, "fs_id": 1, "sighand_id": 1}


@pytest.mark.demand("net-namespace")
def test_what_a_network_namespace_of_the_dumps_own_holds_need_not_be_free(maker, tmp_path):
    maker.whole(
        maker.inet(3, ns_id=2, src_port=80),
        maker.inet(4, ns_id=9, src_port=81),
        maker.unix(5, b"\0shared", state=10, ns_id=2),
        maker.unix(6, b"\0own", state=10, ns_id=9),
    )
    maker.inventory(root_ids=IDS | {"net_ns_id": 2})
    maker.image("ids-7.img", "IDS", "task_kobj_ids_entry", IDS | {"net_ns_id": 9})
    inventory = take_inventory(read_dump(maker.directory))
    assert [entry.port for entry in port_entries(inventory)] == [80]
    with Tree(tmp_path) as tree:
        entries = socket_entries(inventory, tree)
    assert [(entry.name, entry.own_network) for entry in entries] == [(b"\0shared", False), (b"\0own", True)]


LOCK = {"flag": 2, "type": 1, "pid": 7, "fd": 3, "start": 0, "len": 0}


def locks_of(maker, *locks):
    maker.whole(
        maker.reg(3, "/srv/kept"), maker.reg(4, "/srv/lost"), maker.reg(5, "/srv/link_remap.5"), maker.reg(6, "/srv/ghost"),
        fds={3: 3, 4: 4, 6: 6},
    )  # fmt: skip
    maker.remaps(
        {"orig_id": 4, "remap_id": 5, "remap_type": 0}, {"orig_id": 6, "remap_id": 1, "remap_type": 1}
    )
    maker.ghost(1)
    maker.image("filelocks.img", "FILE_LOCKS", "file_lock_entry", *locks)
    return list(lock_entries(take_inventory(read_dump(maker.directory))))


@pytest.mark.demand("locks-foreign")
def test_a_lock_is_recorded_by_the_file_that_its_descriptor_opens(maker):
    (entry,) = locks_of(maker, LOCK | {"flag": 1, "start": 5, "len": 7})
    assert (entry.path, entry.kind.value, entry.exclusive) == (b"/srv/kept", "POSIX", True)
    assert (entry.start, entry.length, entry.pid, entry.fd) == (5, 7, 7, 3)


@pytest.mark.demand("locks-foreign")
def test_a_lost_files_lock_is_its_link_remaps_and_a_ghosts_nobodys(maker):
    found = locks_of(maker, LOCK | {"fd": 4}, LOCK | {"fd": 6}, LOCK | {"fd": 9}, LOCK | {"pid": 11})
    assert [entry.path for entry in found] == [b"/srv/link_remap.5"]


@pytest.mark.demand("lease")
def test_a_lease_that_is_being_broken_is_taken_as_a_write_lease_first(maker):
    found = locks_of(maker, LOCK | {"flag": 8, "type": 0}, LOCK | {"flag": 8, "type": 4 | 2})
    assert [(entry.kind.value, entry.exclusive) for entry in found] == [("lease", False), ("lease", True)]


def test_locks_that_no_kernel_takes_are_left_out(maker):
    mandatory, unknown = LOCK | {"type": 32 | 192}, LOCK | {"flag": 16}
    assert locks_of(maker, mandatory, unknown, LOCK | {"start": -5}) == []
