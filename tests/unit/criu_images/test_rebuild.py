"""What a rebuild refuses, and what it leaves as it was; what single parts of it do is beside."""

from __future__ import annotations

import os

import pytest
from worlds import everything, regular

from llmux.criu_images import plan, verify
from llmux.criu_images.errors import RebuildRefused, SideFileDiffers

O_APPEND_LOG = os.O_WRONLY | os.O_APPEND


def test_a_grown_log_is_left_alone(world):
    (world.there / "app.log").write_text("old")
    world.capture(regular("/app.log", flags=O_APPEND_LOG))
    (world.here / "app.log").write_text("old and new")
    assert world.rebuild().actions == ()
    assert (world.here / "app.log").read_text() == "old and new"


def test_what_another_process_shares_is_a_warning(in_memory):
    (in_memory.there / "ring").write_bytes(b"ring")
    in_memory.capture(regular("/ring", 4, flags=os.O_RDWR))
    in_memory.rebuild()
    with (in_memory.here / "ring").open("rb"):
        assert any("/ring is open in another process" in warning for warning in in_memory.plan().warnings)
    assert not any("/ring" in warning for warning in in_memory.plan().warnings)


@pytest.mark.parametrize("name", ["", "llmux", "llmux-manifest.json"])
def test_a_checkpoint_that_everybody_may_write_to_is_refused(world, name):
    (world.there / "x").write_text("x")
    world.capture(regular("/x", 1))
    (world.images / name).chmod(0o1777)
    with pytest.raises(RebuildRefused, match=rf"{name}: every user may write to the checkpoint"):
        world.rebuild()
    assert everything(world.here) == set()


def test_conflicts_leave_everything_as_it_was(world):
    (world.there / "dir").mkdir()
    (world.there / "dir/x").write_text("x")
    (world.there / "y").write_text("y")
    world.capture(regular("/dir/x", 1), regular("/y", 1))
    (world.here / "y").write_text("another")
    with pytest.raises(RebuildRefused, match=r"File y has bad size 7 \(expect 1\)"):
        world.rebuild()
    assert everything(world.here) == {"y"}
    assert not world.journal.exists()


def test_a_failure_half_way_takes_back_what_was_made(world):
    for name in "ab":
        (world.there / name).mkdir()
        (world.there / name / "file").write_text(name)
    world.capture(regular("/a/file", 1), regular("/b/file", 1))
    (world.images / "llmux/1").write_bytes(b"X")
    with pytest.raises(SideFileDiffers, match="llmux/1"):
        world.rebuild()
    assert everything(world.here) == set()


@pytest.mark.demand("read-only")
def test_a_read_only_directory_of_images_is_enough(world):
    (world.there / "x").write_text("x")
    world.capture(regular("/x", 1))
    before = everything(world.images)
    world.images.chmod(0o500)
    world.rebuild()
    verify(world.images)
    assert everything(world.images) == before


def test_plan_changes_nothing(world):
    (world.there / "x").write_text("x")
    world.capture(regular("/x", 1))
    assert len(plan(world.images, root=world.here).actions) == 1
    assert everything(world.here) == set()
