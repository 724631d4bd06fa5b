"""An undo puts back the times of directories that were there, unless somebody else has changed them since."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from worlds import World, regular

from llmux.criu_images.errors import SideFileDiffers

pytestmark = pytest.mark.demand("parents", "leftover-sandbox")

EARLIER = 10**18


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    """Give a world with a directory that is there, in which a file and a directory with another are missing."""
    made = World(tmp_path)
    (made.there / "dir/new").mkdir(parents=True)
    (made.there / "dir/one").write_text("1")
    (made.there / "dir/new/two").write_text("2")
    os.utime(made.there / "dir/new", ns=(EARLIER + 1, EARLIER + 2))
    made.capture(regular("/dir/one", 1), regular("/dir/new/two", 1))
    (made.here / "dir").mkdir()
    os.utime(made.here / "dir", ns=(EARLIER + 3, EARLIER + 4))
    return made


def time_of(world: World, name: str) -> int:
    return (world.here / name).stat().st_mtime_ns


def test_what_is_made_has_the_recorded_time_after_its_content_is_there(world):
    world.rebuild()
    assert time_of(world, "dir/new") == EARLIER + 2
    assert time_of(world, "dir") > EARLIER + 4


def test_what_was_there_gets_its_own_back(world):
    world.rebuild()
    world.undo()
    assert time_of(world, "dir") == EARLIER + 4
    assert (world.here / "dir").stat().st_atime_ns == EARLIER + 3


def test_after_several_rebuilds_too(world):
    world.rebuild()
    (world.here / "dir/one").unlink()
    theirs = time_of(world, "dir")
    world.rebuild()
    world.undo()
    assert time_of(world, "dir") == theirs


def test_two_rebuilds_of_which_the_second_does_nothing(world):
    world.rebuild()
    world.rebuild()
    world.undo()
    assert time_of(world, "dir") == EARLIER + 4


def test_somebody_elses_change_stays_told(world):
    world.rebuild()
    (world.here / "dir/theirs").touch()
    world.undo()
    assert time_of(world, "dir") > EARLIER + 4


def test_something_of_ours_that_stays_does_too(world):
    world.rebuild()
    (world.here / "dir/one").write_text("changed")
    assert [one.path for one in world.undo().left] == [b"/dir/one"]
    assert time_of(world, "dir") > EARLIER + 4


def test_another_directory_in_its_place_is_let_alone(world):
    world.rebuild()
    (world.here / "dir").rename(world.here / "aside")
    (world.here / "dir").mkdir()
    theirs = time_of(world, "dir")
    world.undo()
    assert time_of(world, "dir") == theirs


def test_a_rebuild_that_fails_leaves_the_time_as_it_was(world):
    copy = world.images / "llmux/0"
    copy.write_bytes(b"?")
    with pytest.raises(SideFileDiffers):
        world.rebuild()
    assert time_of(world, "dir") == EARLIER + 4
    assert os.listdir(world.here / "dir") == []  # noqa: PTH208
