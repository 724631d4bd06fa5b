"""Journals that are cut short, full or foreign, and what one keeps from another restore."""

from __future__ import annotations

import resource

import pytest
from worlds import World, everything, regular

from llmux.criu_images._inventory import PathKind
from llmux.criu_images._journal import settle
from llmux.criu_images.errors import JournalInvalid, RebuildRefused


class TestTwoDumpsWithOneLinkRemapsNumber:
    """CRIU numbers link remaps by the file's id, so that two dumps of one program both have `link_remap.7`."""

    @pytest.fixture
    def other(self, in_memory, tmp_path):
        """Yield another dump's world, to be restored in the same memory with a journal beside."""
        other = World(tmp_path)
        other.here, other.journal = in_memory.here, in_memory.journal.with_name("other.json")
        for world, name, content in ((in_memory, "sem.a", b"a"), (other, "sem.b", b"b")):
            (world.there / name).write_bytes(content)
            (world.there / "link_remap.7").hardlink_to(world.there / name)
            world.capture(regular("/link_remap.7", 1, kind=PathKind.LINK_REMAP))
        return other

    def test_the_second_waits_for_the_first(self, in_memory, other):
        in_memory.rebuild()
        with pytest.raises(
            RebuildRefused, match=r"another restore that is not over \(its journal is j\.json\)"
        ):
            other.rebuild()
        assert everything(in_memory.here) == {"link_remap.7", "sem.a"}
        (in_memory.here / "link_remap.7").unlink()  # as CRIU does at the end of a restore
        settle(in_memory.journal)
        other.rebuild()
        assert everything(in_memory.here) == {"link_remap.7", "sem.a", "sem.b"}

    def test_a_first_that_failed_is_undone(self, in_memory, other):
        in_memory.rebuild()
        in_memory.undo()
        other.rebuild()
        assert everything(in_memory.here) == {"link_remap.7", "sem.b"}

    def test_one_of_unknown_origin_stays(self, in_memory, other):
        in_memory.rebuild()
        in_memory.journal.unlink()
        with pytest.raises(RebuildRefused, match="Remove it if no other restore or dump is under way"):
            other.rebuild()
        assert (in_memory.here / "link_remap.7").read_bytes() == b"a"


def test_a_journal_whose_last_line_was_cut_goes_on(world):
    (world.there / "a").mkdir()
    (world.there / "a/file").write_text("x")
    world.capture(regular("/a/file", 1))
    world.rebuild()
    with world.journal.open("ab") as journal:
        journal.write(b'{"kind": "no')
    (world.here / "a/file").unlink()
    world.rebuild()
    assert world.undo().left == []
    assert everything(world.here) == set()


def test_a_full_journal_fails_before_anything_is_made(world):
    (world.there / "dir").mkdir()
    (world.there / "dir/x").write_text("x")
    world.capture(regular("/dir/x", 1))
    world.journal.parent.mkdir(mode=0o700)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
    try:
        with pytest.raises(JournalInvalid, match=r"j\.json: File too large"):
            world.rebuild()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert everything(world.here) == set()


def test_a_journal_that_others_could_write_is_refused(world):
    world.capture()
    world.journal.parent.mkdir()
    world.journal.parent.chmod(0o777)
    with pytest.raises(JournalInvalid, match="other users"):
        world.undo()


def test_a_journal_of_something_else_is_refused(world):
    world.capture()
    world.journal.parent.mkdir(mode=0o700)
    world.journal.write_text('{"kind": "file"}\n')
    with pytest.raises(JournalInvalid, match="not a journal"):
        world.undo()
