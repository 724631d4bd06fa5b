"""What lies among the checkpoints that nobody needs, and nothing else."""

from __future__ import annotations

import fcntl

import pytest

from llmux.criu_images import MANIFEST_NAME
from llmux.server._locks import Lock
from llmux.server._stock import Why, left_over, remove


def put(root, *parts, name=MANIFEST_NAME):
    directory = root.joinpath(*parts)
    directory.mkdir(parents=True)
    (directory / name).write_text("x" * 5000)
    return directory


def found(root, configured=("m",)):
    return [(each.name, each.why, each.path.name) for each in left_over(root, configured)]


def test_nothing_is_left_where_nothing_was_made(tmp_path):
    assert left_over(tmp_path / "nowhere", ()) == ()
    put(tmp_path, "m", "images")
    assert left_over(tmp_path, {"m"}) == ()


def test_what_is_of_no_model_any_more_goes_whole(tmp_path):
    put(tmp_path, "gone", "images")
    put(tmp_path, "gone", ".generation-3")
    assert found(tmp_path) == [("gone", Why.ORPHAN, "gone")]
    (one,) = left_over(tmp_path, {"m"})
    assert one.size_bytes >= 10_000
    assert remove(one)
    assert not (tmp_path / "gone").exists()


def test_half_made_ones_go_and_the_published_one_stays(tmp_path):
    put(tmp_path, "m", "images")
    put(tmp_path, "m", ".generation-2", name="pages-1.img")
    assert found(tmp_path) == [("m", Why.HALF_MADE, ".generation-2")]
    assert all(remove(each) for each in left_over(tmp_path, {"m"}))
    assert [each.name for each in (tmp_path / "m").iterdir()] == ["images"]


def test_what_somebody_uses_stays(tmp_path):
    making = put(tmp_path, "m", ".generation-2", name="pages-1.img")
    images = put(tmp_path, "gone", "images")
    locks = [Lock(making, fcntl.LOCK_EX), Lock(images, fcntl.LOCK_SH)]
    (one,) = left_over(tmp_path, {"m"})
    assert (one.name, remove(one)) == ("gone", False)
    for lock in locks:
        lock.close()
    assert len(left_over(tmp_path, {"m"})) == 2


@pytest.mark.parametrize("kind", ["other", "mixed", "empty", "link", "file", "images_of_another"])
def test_whatever_else_lies_there_is_nobodys_to_remove(tmp_path, kind):
    match kind:
        case "other":
            put(tmp_path, "photos", "2026")
        case "mixed":
            put(tmp_path, "gone", "images")
            (tmp_path / "gone" / "notes.txt").write_text("mine")
        case "empty":
            (tmp_path / "gone").mkdir()
        case "link":
            put(tmp_path, "m", "images")
            (tmp_path / "gone").symlink_to(tmp_path / "m")
        case "file":
            (tmp_path / "gone").write_text("mine")
        case "images_of_another":
            put(tmp_path, "photos", "images", name="holiday.jpg")
    assert found(tmp_path) == []
