from __future__ import annotations

import pytest
from live import IMAGES

from llmux.criu_images._dump import read_dump
from llmux.criu_images._explain import explain_log
from llmux.criu_images._explain_images import referrers
from llmux.criu_images._inventory import take_inventory


def who(kind: str, text: str) -> tuple[str, ...]:
    dump = read_dump(IMAGES / kind)
    cause = explain_log([f"(00.1) Error (criu/x.c:1): {text}\n".encode()]).cause
    assert cause is not None
    return referrers(cause, dump, take_inventory(dump))


def inventory_of(kind: str):
    return take_inventory(read_dump(IMAGES / kind))


def test_a_path_has_its_users():
    path = next(one for one in inventory_of("fifos").paths if one.kind.value == "fifo").path.decode()
    said = who("fifos", f"Can't open fake fifo 0x3 [{path[1:]}]: No such file or directory")
    assert "(fifo)" in said[0]
    assert "fd" in said[0]


def test_a_port_is_found_by_the_files_number():
    port = inventory_of("inet").ports[0]
    said = who("inet", f"inet: Can't bind inet socket (id {port.socket.id}): Address already in use")
    assert f":{port.socket.source_port})" in said[0]


def test_a_socket_is_found_by_its_inode_and_not_by_a_file_of_the_same_number():
    sockets = inventory_of("unix_external").sockets
    external = next(one for one in sockets if one.socket.external)
    talker = next(one for one in sockets if one.socket.peer == external.socket.inode)
    said = who("unix_external", f"unix: Can't connect {talker.socket.inode} socket: Connection refused")
    assert len(said) == 1
    assert f"peer {external.socket.name.decode()}" in said[0]


@pytest.mark.parametrize(("number", "word"), [("1000", "process 1000"), ("4242", None)])
def test_a_task_is_found_by_its_id(number, word):
    said = who("fifos", f"Can't fork for {number}: File exists")
    assert said == () if word is None else said[0].startswith(word)
