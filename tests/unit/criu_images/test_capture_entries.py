from __future__ import annotations

import pytest

from llmux.criu_images._capture_entries import port_entries, socket_entries
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
