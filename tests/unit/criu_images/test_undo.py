"""What an undo takes back, and what it leaves."""

from __future__ import annotations

import os
import socket

import pytest
from manifests import raw
from worlds import everything, regular

from llmux.criu_images import _build
from llmux.criu_images._enums import RemapType
from llmux.criu_images._inventory import PathKind, PathReference
from llmux.criu_images._records import FileId, Remap


def test_a_killed_rebuild_can_be_undone(world, monkeypatch):
    (world.there / "dir").mkdir()
    (world.there / "dir/file").write_text("x")
    os.mkfifo(world.there / "dir/pipe")
    world.capture(regular("/dir/file", 1), regular("/dir/pipe", kind=PathKind.FIFO))
    before = everything(world.here)
    for call in ("mkdir", "open", "link", "unlink", "mkfifo"):
        code = os.fork()
        if code == 0:
            monkeypatch.setattr(_build.os, call, lambda *_, **__: os._exit(9))
            world.rebuild()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(code, 0)[1]) == 9
        assert world.undo().left == []
        assert everything(world.here) == before


@pytest.mark.demand("failed-restore")
def test_undo_leaves_what_was_changed_since(world):
    (world.there / "dir").mkdir()
    for name in ("kept", "changed"):
        (world.there / "dir" / name).write_text("x")
    world.capture(regular("/dir/kept", 1), regular("/dir/changed", 1))
    world.rebuild()
    (world.here / "dir/changed").write_text("more")
    (world.here / "dir/foreign").write_text("mine")
    undone = world.undo()
    assert undone.removed == [b"/dir/kept"]
    assert {(left.path, left.why) for left in undone.left} == {
        (b"/dir/changed", "it was changed since"),
        (b"/dir", "it is not empty"),
    }
    assert everything(world.here) == {"dir", "dir/changed", "dir/foreign"}


@pytest.mark.demand("leftover-sandbox", "unix-stale")
def test_undo_clears_the_sockets_and_ghosts_of_a_failed_restore(world):
    (world.there / "run").mkdir()
    world.capture(
        regular("/run/s", kind=PathKind.SOCKET),
        PathReference(raw("/g"), PathKind.GHOST_NAME, (), remap=Remap(FileId(1), 26, RemapType.GHOST)),
    )
    (world.here / "s2").touch()
    world.rebuild()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(world.here / "run/s"))
    (world.here / "g.cr.1a.ghost").touch()
    assert world.undo().left == []
    assert everything(world.here) == {"s2"}


@pytest.mark.demand("unix-stale")
def test_undo_leaves_a_socket_that_was_there_before(world):
    world.capture(regular("/s", kind=PathKind.SOCKET))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(world.here / "s"))
    world.rebuild()
    world.undo()
    assert everything(world.here) == {"s"}


def test_undo_without_a_rebuild_does_nothing(world):
    world.capture()
    assert world.undo().removed == []
