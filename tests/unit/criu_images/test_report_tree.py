from __future__ import annotations

import json

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._report_tree import render_tree, render_tree_json

from .live import IMAGES


def trees(directory):
    dump = read_dump(directory)
    inventory = take_inventory(dump)
    return render_tree(dump, inventory), json.loads(render_tree_json(dump, inventory))


def test_each_process_shows_its_threads_files_and_sockets(maker):
    maker.busy()
    lines = trees(maker.directory)[0].splitlines()
    assert lines[:3] == [
        "comm7(7)  session leader, group leader",
        "│  threads 7-8",
        "│  exe /bin/true, cwd /, root /",
    ]
    assert "│  fd 0 1  /tmp/a\\nb" in lines
    assert "│  fd 3    unix stream LISTEN /run/s" in lines
    assert "│  fd 4    unix stream ESTAB /run/s  peer (unnamed) comm7(7) fd 5" in lines
    assert "│  fd 6    fifo /fifo" in lines
    assert lines[-1] == "└─ comm9(9)  session 7, group 7, zombie"


def test_a_dead_task_is_a_zombie_and_branches_hang_where_they_belong(maker):
    maker.whole()
    family = [(7, 0), (9, 7), (10, 9), (11, 7)]
    maker.tree(*({"pid": pid, "ppid": up, "pgid": pid, "sid": 7, "threads": [pid]} for pid, up in family))
    for pid in (9, 10, 11):
        maker.core(pid, state=2)
    lines = trees(maker.directory)[0].splitlines()
    assert lines[-3:] == [
        "├─ comm9(9)  session 7, group leader, zombie (dead)",
        "│  └─ comm10(10)  session 7, group leader, zombie (dead)",
        "└─ comm11(11)  session 7, group leader, zombie (dead)",
    ]


def test_programs_and_libraries_are_counted_what_else_is_mapped_is_named(maker):
    maker.whole(maker.reg(3, "/lib.so"), maker.reg(4, "/dev/shm/x"))
    code = maker.vma(0x1000, 1 << 6, 3) | {"prot": 5}
    maker.task(7, {}, code, maker.vma(0x3000, 1 << 7, 4), maker.vma(0x5000, 1 << 6, 3))
    lines = trees(maker.directory)[0].splitlines()
    assert lines[-2:] == ["   maps /dev/shm/x", "   maps 1 program or library"]


def test_a_very_deep_tree_is_drawn(maker):
    maker.whole()
    pids = range(7, 2007)
    maker.tree(
        *(
            {"pid": pid, "ppid": 0 if pid == 7 else pid - 1, "pgid": 7, "sid": 7, "threads": [pid]}
            for pid in pids
        )
    )
    for pid in pids[1:]:
        maker.core(pid, state=2)
    text, data = trees(maker.directory)
    assert len(data["processes"]) == 2000
    assert "comm2006(2006)" in text.splitlines()[-1]


@pytest.mark.parametrize("name", sorted(path.name for path in IMAGES.iterdir()))
def test_every_descriptor_of_every_fixture_is_there(name):
    dump = read_dump(IMAGES / name)
    text, data = trees(IMAGES / name)
    for task, shown in zip(dump.tasks, data["processes"], strict=True):
        assert f"{task.comm}({task.pid})" in text
        assert [item["fd"] for item in shown["descriptors"]] == [item.fd for item in task.descriptors]


def test_the_namespaces_of_its_own_that_a_process_is_in():
    text, shown = trees(IMAGES / "sysv")
    assert "namespaces ipc 9" in text
    assert shown["processes"][0]["namespaces"]["ipc"] == 9
    assert "namespaces" not in trees(IMAGES / "tasks")[0]
