from __future__ import annotations

import json

from llmux.criu_images._diff import find_changes, render_changes, render_changes_json
from llmux.criu_images._dump import read_dump
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
        "- path  /log  regular file, 1 byte, mode 0100644",
        "+ path  /log  regular file, 2 bytes, mode 0100644",
        "- path  /s  socket",
        "- unix  stream LISTEN /s",
        "+ inet  tcp LISTEN 127.0.0.1:80",
    ]
    shown = json.loads(render_changes_json(changes))
    assert shown["changes"][2] == {"kind": "path", "what": "/s  socket", "number": -1}


def test_new_file_ids_and_inodes_are_no_difference(maker):
    maker.whole(maker.unix(3, b"/s\0", state=10), fds={5: 3})
    before = read(maker.directory)
    maker.whole(maker.unix(30, b"/s\0", state=10), fds={5: 30})
    assert find_changes(before, read(maker.directory)) == ()
