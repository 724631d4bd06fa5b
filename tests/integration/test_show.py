"""`show` reads out of a dump what the kernel said of the living engine."""

from __future__ import annotations

import json

import pytest

from proof.bench import CHECKPOINTS, MODEL, Settings
from proof.sockets import Socket, unix_sockets

pytestmark = pytest.mark.docker

SETTINGS = Settings()
SHOW = ("/opt/llmux/bin/python", "-m", "llmux.criu_images", "show")
IMAGES = f"{CHECKPOINTS}/{MODEL}/images"


@pytest.fixture(scope="module")
def before_and_after(make_bench) -> tuple[frozenset[Socket], str, dict]:
    """Return what `ss -xp` says before the dump, and what `show --kind unix` says of the dump, as text and as JSON."""
    with make_bench().node("a", SETTINGS) as a:
        a.llmux.chat(MODEL)
        sockets = unix_sockets(a.container.pid)
        a.llmux.sleep(MODEL)
        text = a.container.exec(*SHOW, IMAGES, "--kind", "unix")
        return sockets, text, json.loads(a.container.exec(*SHOW, IMAGES, "--kind", "unix", "--json"))


def test_json_lists_each_socket_that_ss_showed(before_and_after) -> None:
    sockets, _, shown = before_and_after
    assert len([socket for socket in sockets if socket.listening]) >= 3
    assert len([socket for socket in sockets if socket.peer]) >= 6
    assert {
        Socket(
            inode=each["inode"],
            type=each["type"],
            listening=each["state"] == "listen",
            path=each["path"],
            peer=each["peer"] and each["peer"]["inode"],
            holders=frozenset((user["pid"], user["number"]) for user in each["users"]),
        )
        for each in shown["unix_sockets"]
    } == sockets


def test_json_names_each_peers_path(before_and_after) -> None:
    sockets, _, shown = before_and_after
    paths = {socket.inode: socket.path for socket in sockets}
    shown_peers = {each["inode"]: each["peer"] and each["peer"]["path"] for each in shown["unix_sockets"]}
    assert shown_peers == {socket.inode: socket.peer and paths[socket.peer] for socket in sockets}


def test_text_has_each_sockets_path_and_peer_in_its_line(before_and_after) -> None:
    sockets, text, _ = before_and_after
    paths = {socket.inode: socket.path or "(unnamed)" for socket in sockets}
    for socket in sockets:
        line = next(
            line for line in text.splitlines() if f" {socket.inode} " in f"{line} ".partition("peer")[0]
        )
        assert paths[socket.inode] in line
        if socket.peer:
            assert f"peer {paths[socket.peer]} {socket.peer}" in line
