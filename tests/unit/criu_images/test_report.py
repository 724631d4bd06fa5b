from __future__ import annotations

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._report import render
from llmux.criu_images._sections import Section


@pytest.fixture
def busy(maker):
    maker.busy()
    dump = read_dump(maker.directory)
    return dump, take_inventory(dump)


def text(busy, only=None):
    return render(*busy, only)


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
        "stream ESTAB /run/s 107 comm7(7) fd 4 peer (unnamed) 108 comm7(7) fd 5 queued 5 bytes in 1 packet, shut down read"
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
    if section in {Section.OTHER, Section.DESCRIPTOR, Section.MAPPING, Section.RIGHT}:
        return  # It says more when asked for alone.
    assert text(busy, section) in text(busy)
