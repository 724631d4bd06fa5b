from __future__ import annotations

import json

import click
import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._report import Section, render
from llmux.criu_images._report_dot import render_dot
from llmux.criu_images._report_json import render_json


@pytest.fixture
def busy(maker):
    maker.busy()
    dump = read_dump(maker.directory)
    return dump, take_inventory(dump)


def text(busy, only=None):
    return click.unstyle(render(*busy, only))


def line_with(busy, part):
    lines = {" ".join(line.split()) for line in text(busy).splitlines()}
    (line,) = {line for line in lines if part in line}
    return line


def test_the_tree_comes_first_children_indented(busy):
    lines = text(busy).splitlines()
    assert lines[0] == "Processes (2)"
    assert lines[1].split()[:2] == ["7", "comm7"]
    assert "2 threads, exe /bin/true, cwd /, root /" in lines[1]
    assert lines[2].startswith("    9  comm9")
    assert lines[2].endswith("zombie")


def test_a_listener_shows_its_path_holder_and_backlog(busy):
    assert line_with(busy, " 106 ") == "stream LISTEN /run/s 106 comm7(7) fd 3 bind, backlog 7"


def test_an_accepted_socket_shows_its_peer_and_queue_and_is_not_bound(busy):
    assert line_with(busy, "stream ESTAB /run/s") == (
        "stream ESTAB /run/s 107 comm7(7) fd 4 peer (unnamed) 108 comm7(7) fd 5 queued 5 bytes in 1, shut down read"
    )


def test_abstract_relative_and_lonely_sockets(busy):
    assert "@name\\x00x" in line_with(busy, " 109 ")
    assert "UNCONN /run/rel 110 nobody bind, bound as rel in /run" in line_with(busy, " 110 ")
    assert "peer 999 outside the dump" in line_with(busy, " 111 ")


def test_paths_are_on_one_line_with_their_holders_each_once(busy):
    assert line_with(busy, "/tmp/a") == "-rw-r--r-- - /tmp/a\\nb comm7(7) fd 0 1"


def test_a_remap_in_shared_memory_is_in_both_sections(busy):
    for section in (Section.REMAP, Section.SHM):
        assert "/dev/shm/link_remap.5" in text(busy, section)
    assert "/dev/shm" not in text(busy, Section.FILE)


def test_ports_connections_watches_fifos_and_ids(busy):
    assert "tcp LISTEN 127.0.0.1:80" in line_with(busy, "backlog 5")
    assert "127.0.0.1:80 0.0.0.0:9" in " ".join(text(busy, Section.INET).split())
    assert "/etc" in text(busy, Section.WATCH)
    assert "prw-------" in text(busy, Section.FIFO)
    assert text(busy, Section.ID).splitlines()[-1].strip() == "7-9"


def test_self_contained_files_are_counted_or_listed_when_asked_for(busy):
    assert line_with(busy, "eventfd") == "eventfd 2"
    assert text(busy, Section.OTHER).count("eventfd") == 2


@pytest.mark.parametrize("section", Section)
def test_each_section_alone_is_part_of_the_whole(busy, section):
    if section is Section.OTHER:
        return  # It says more when asked for alone.
    assert text(busy, section) in text(busy)


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


def test_the_graph_draws_a_pair_once_and_quotes_names(busy):
    graph = render_dot(*busy)
    assert graph.count('"socket 107" -- "socket 108"') == 1
    assert '"socket 108" -- "socket 107"' not in graph
    assert '"socket 111" -- "socket 999" [dir=forward' in graph
    assert '"task 7" -- "socket 106" [label="fd 3"]' in graph
    assert r"@name\\x00x" in graph
    assert graph.startswith("graph unix_sockets {")
    assert graph.endswith("}")


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
