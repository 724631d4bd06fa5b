from __future__ import annotations

import json

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._report_json import render_json
from llmux.criu_images._sections import Section


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
        "name": "/run/s",
        "name_dir": None,
        "form": "path",
        "path": "/run/s",
        "bind_path": None,
        "binds": False,
        "deleted": False,
        "external": False,
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


def keys_of(value):
    match value:
        case dict():
            return {key for name, inner in value.items() for key in (name, *keys_of(inner))}
        case list():
            return {key for inner in value for key in keys_of(inner)}
        case _:
            return set()


def test_every_key_is_described(busy, pytestconfig):
    described = (pytestconfig.rootpath / "docs" / "show-json.md").read_text()
    keys = keys_of(json.loads(render_json(*busy)))
    assert {key for key in keys if f"`{key}`" not in described and f'"{key}"' not in described} == set()
