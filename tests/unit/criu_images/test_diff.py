from __future__ import annotations

import json
from dataclasses import replace

from llmux.criu_images._diff import find_changes, render_changes, render_changes_json
from llmux.criu_images._dump import read_dump
from llmux.criu_images._ids import Pid
from llmux.criu_images._inventory import take_inventory

from .live import IMAGES


def read(directory):
    dump = read_dump(directory)
    return dump, take_inventory(dump)


def test_a_dump_does_not_differ_from_itself():
    one = read(IMAGES / "tiny_engine")
    assert find_changes(one, one) == ()
    assert render_changes(()) == "no difference"


def test_what_is_new_what_is_gone_and_what_changed(maker):
    maker.whole(maker.reg(3, "/log", size=1), maker.unix(4, b"/s\0", state=10), fds={5: 3, 6: 4})
    before = read(maker.directory)
    maker.whole(maker.reg(8, "/log", size=2), maker.inet(9), fds={5: 8, 6: 9})
    changes = find_changes(before, read(maker.directory))
    assert render_changes(changes).splitlines() == [
        "+ descriptor  comm7(7) fd 6  inetsk 127.0.0.1:80",
        "- descriptor  comm7(7) fd 6  unixsk /s",
        "- path  /log  regular file, 1 byte, mode 0100644",
        "+ path  /log  regular file, 2 bytes, mode 0100644",
        "- path  /s  socket",
        "- unix  stream LISTEN /s",
        "+ inet  tcp LISTEN 127.0.0.1:80",
    ]
    shown = json.loads(render_changes_json(changes))
    assert shown["changes"][4] == {"kind": "path", "what": "/s  socket", "number": -1}


def test_new_file_ids_and_inodes_are_no_difference(maker):
    maker.whole(maker.unix(3, b"/s\0", state=10), fds={5: 3})
    before = read(maker.directory)
    maker.whole(maker.unix(30, b"/s\0", state=10), fds={5: 30})
    assert find_changes(before, read(maker.directory)) == ()


def test_what_descriptors_lead_to_and_how_sockets_are_set(maker):
    maker.whole(maker.reg(3, "/log", flags=1), maker.inet(4), fds={5: 3, 6: 4})
    before = read(maker.directory)
    options = {"opts": maker.inet(4)["isk"]["opts"] | {"so_reuseport": True, "so_mark": 7}, "v6only": True}
    maker.whole(maker.reg(3, "/log", flags=0o2001), maker.inet(4, **options), fds={5: 3, 6: 4})
    assert render_changes(find_changes(before, read(maker.directory))).splitlines() == [
        "- descriptor  comm7(7) fd 5  /log O_WRONLY",
        "+ descriptor  comm7(7) fd 5  /log O_WRONLY|O_APPEND",
        "- inet  tcp LISTEN 127.0.0.1:80",
        "+ inet  tcp LISTEN 127.0.0.1:80  v6only, reuseport, mark 0x7",
        "+ need  capability  CAP_NET_ADMIN, to set SO_MARK 0x7",
    ]


def test_namespaces_of_its_own():
    changes = find_changes(read(IMAGES / "inet"), read(IMAGES / "sysv"))
    assert "+ namespace  ipc of 1000" in render_changes(changes)


def moved(dump, by):
    """Make the same dump with other ids."""
    tasks = tuple(
        replace(
            task,
            **{name: Pid(getattr(task, name) + by) for name in ("pid", "pgid", "sid")},
            ppid=Pid(task.ppid + by if task.ppid else 0),
            threads=tuple(Pid(tid + by) for tid in task.threads),
        )
        for task in dump.tasks
    )
    return replace(dump, tasks=tasks)


def test_a_program_with_other_pids_is_the_same_where_they_are_ignored():
    one = read(IMAGES / "tasks")
    other = moved(one[0], 500)
    other = other, take_inventory(other)
    assert {change.kind for change in find_changes(one, other)} == {
        "task",
        "descriptor",
        "right",
        "id",
    }
    assert find_changes(one, other, ignore_pids=True) == ()


def test_places_in_the_tree_name_the_processes(maker):
    maker.whole(fds={})
    before = read(maker.directory)
    maker.tree(
        {"pid": 7, "ppid": 0, "pgid": 7, "sid": 7, "threads": [7, 8]},
        {"pid": 9, "ppid": 7, "pgid": 7, "sid": 7, "threads": [9]},
    )
    maker.core(9, state=6)
    changes = find_changes(before, read(maker.directory), ignore_pids=True)
    assert [change.what for change in changes] == ["comm9(1.1) parent 1, 1 thread, zombie"]
