from __future__ import annotations

import enum
import json
from dataclasses import fields, is_dataclass

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._paths import escape
from llmux.criu_images._sections import Section

from .live import NAMES, dump_of, inventory_of
from .shown import render_json


@pytest.fixture
def busy(maker):
    maker.busy()
    dump = read_dump(maker.directory)
    return dump, take_inventory(dump)


def test_json_has_each_key_and_its_sections_have_theirs(busy):
    whole = json.loads(render_json(*busy))
    assert whole["version"] == 1
    for section in Section:
        part = json.loads(render_json(*busy, section))
        assert part.keys() <= whole.keys()
        assert all(part[key] == whole[key] for key in part if key != "paths")
        assert all(path in whole["paths"] for path in part.get("paths", []))


def test_json_of_a_socket_and_its_peer(busy):
    sockets = {item["inode"]: item for item in json.loads(render_json(*busy))["unix_sockets"]}
    assert sockets[107] == {
        "file": 7,
        "inode": 107,
        "type": "stream",
        "state": "established",
        "flags": 2,
        "name": "/run/s",
        "name_dir": None,
        "form": "path",
        "path": "/run/s",
        "bind_path": None,
        "binds": False,
        "deleted": False,
        "external": False,
        "plugin": False,
        "backlog": 0,
        "shutdown": "read",
        "mode": None,
        "uid": None,
        "gid": None,
        "queued_bytes": 5,
        "queued_packets": 1,
        "peer": {"inode": 108, "in_dump": True, "name": "", "path": None},
        "users": [{"pid": 7, "role": "fd", "number": 4}],
    }
    assert sockets[111]["peer"] == {"inode": 999, "in_dump": False, "name": None, "path": None}
    assert (sockets[109]["form"], sockets[109]["name"], sockets[109]["path"]) == (
        "abstract",
        "\\x00name\\x00x",
        None,
    )
    assert (sockets[110]["path"], sockets[110]["bind_path"]) == ("/run/rel", "/run/rel")


def test_json_of_a_path(busy):
    paths = {item["path"]: item for item in json.loads(render_json(*busy))["paths"]}
    assert paths["/tmp/a\\nb"] == {
        "path": "/tmp/a\\nb",
        "kind": "regular file",
        "size": None,
        "mode": 0o100644,
        "build_id": None,
        "flags": 0o2001,
        "file": 3,
        "remap": None,
        "users": [{"pid": 7, "role": "fd", "number": 0}, {"pid": 7, "role": "fd", "number": 1}],
    }
    assert paths["/dev/shm/link_remap.5"]["remap"] == {"type": "linked", "original": 4, "target": 5}


def facts_of(value):
    """Yield every number and text in a record as JSON would have it; small numbers prove nothing."""
    match value:
        case bytes():
            yield escape(value)
        case enum.Enum():
            yield value.name.lower().replace("_", "-")
        case str() | int():
            yield value
        case dict():
            yield from (fact for inner in value.values() for fact in facts_of(inner))
        case tuple() | list():
            yield from (fact for inner in value for fact in facts_of(inner))
        case _ if is_dataclass(value):
            names = {field.name for field in fields(value)} - {"build_id"}
            yield from (fact for name in names for fact in facts_of(getattr(value, name)))


def values_of(shown):
    match shown:
        case dict():
            return {value for inner in shown.values() for value in values_of(inner)} | shown.keys()
        case list():
            return {value for inner in shown for value in values_of(inner)}
        case _:
            return {shown}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_is_decoded_is_left_out(name):
    shown = values_of(json.loads(render_json(dump_of(name), inventory_of(name))))
    facts = {fact for fact in facts_of(dump_of(name)) if not isinstance(fact, int) or fact > 20}
    assert facts - shown == set()


def test_what_is_one_object_is_written_as_one(busy):
    shown = json.loads(render_json(*busy))
    assert shown["host"] == {"capabilities": 0, "limits": {}}
    assert shown["dump"] == {"root_task": 7, "lsm": "no-lsm", "tcp_close": False, "plugins": []}
    assert shown["tasks"][1]["state"] == "zombie"


def test_each_way_in_which_a_path_is_open_is_told(maker):
    maker.whole(maker.reg(3, "/log", pos=5, flags=1), maker.reg(4, "/log", pos=6), fds={0: 3, 1: 4})
    dump = read_dump(maker.directory)
    shown = json.loads(render_json(dump, take_inventory(dump), Section.DESCRIPTOR))
    assert shown["descriptors"][1] == {"pid": 7, "fd": 1, "file": 4, "flags": 0}
    assert shown["open_files"][-2:] == [
        {"file": 3, "flags": 1, "pos": 5},
        {"file": 4, "flags": 0, "pos": 6},
    ]


def test_more_things_than_are_encoded_at_once(maker):
    maker.whole(*(maker.reg(number, f"/{number}") for number in range(3, 1203)))
    dump = read_dump(maker.directory)
    inventory = take_inventory(dump)
    paths = json.loads(render_json(dump, inventory))["paths"]
    assert [item["path"] for item in paths] == [escape(item.path) for item in inventory.paths]
