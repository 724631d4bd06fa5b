"""What an earlier restore left: in memory it makes room, on a disk it stays."""

from __future__ import annotations

import os

import pytest
from worlds import regular

from llmux.criu_images._inventory import PathKind
from llmux.criu_images._journal import settle
from llmux.criu_images.errors import RebuildRefused


class TestWhatAnEarlierRestoreLeftInMemory:
    @pytest.fixture
    def restored(self, in_memory):
        """Yield a world in which a restore has consumed its link remap, its tree has worked and is gone."""
        world = in_memory
        (world.there / "sem.a").write_bytes(b"1")
        (world.there / "link_remap.7").hardlink_to(world.there / "sem.a")
        (world.there / "ring").write_bytes(b"ring")
        world.capture(
            regular("/link_remap.7", 1, kind=PathKind.LINK_REMAP), regular("/ring", 4, flags=os.O_RDWR)
        )
        world.rebuild()
        (world.here / "link_remap.7").unlink()
        (world.here / "sem.a").write_bytes(b"0")
        (world.here / "ring").write_bytes(b"RING")
        settle(world.journal)
        return world

    def test_makes_room_for_the_next(self, restored):
        restored.rebuild()
        assert (restored.here / "sem.a").read_bytes() == b"1"
        assert (restored.here / "link_remap.7").samefile(restored.here / "sem.a")
        assert (restored.here / "ring").read_bytes() == b"ring"
        assert restored.plan().actions == ()

    @pytest.mark.parametrize("name", ["sem.a", "ring"])
    def test_stays_while_a_process_has_it_open(self, restored, name):
        with (restored.here / name).open("rb"):
            with pytest.raises(RebuildRefused, match="A process has it open: stop that one"):
                restored.rebuild()
            assert (restored.here / name).read_bytes() in {b"0", b"RING"}
        restored.rebuild()

    @pytest.mark.parametrize("name", ["sem.a", "ring"])
    def test_stays_if_somebody_else_made_it_since(self, restored, name):
        path = restored.here / name
        path.rename(restored.here / "aside")
        path.write_bytes(b"X" * (restored.here / "aside").stat().st_size)
        with pytest.raises(RebuildRefused, match="No process has it open: remove it if nobody needs it"):
            restored.rebuild()
        assert path.read_bytes().startswith(b"X")

    def test_is_forgotten_once_it_is_gone(self, restored):
        made = restored.journal.parent / "in-memory"
        assert made.exists()
        for path in restored.here.iterdir():
            path.unlink()
        restored.capture()
        restored.rebuild()
        assert not made.exists()


def test_what_an_earlier_restore_left_on_a_disk_stays(world):
    (world.there / "data").write_bytes(b"data")
    world.capture(regular("/data", 4))
    world.rebuild()
    settle(world.journal)
    (world.here / "data").write_bytes(b"DATA")
    with pytest.raises(RebuildRefused, match="/data: has other content"):
        world.rebuild()
