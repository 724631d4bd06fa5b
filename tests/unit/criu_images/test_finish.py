"""After a restore: what was made stays, and nothing takes it back any more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmux.criu_images import Finished, finish, rebuild, undo
from llmux.criu_images._capture import Subject, capture_subject, survey_place
from llmux.criu_images._inventory import Inventory, PathKind, PathReference
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import Pid
from llmux.criu_images._safefs import Tree


@pytest.fixture
def rebuilt(tmp_path):
    """Give a file that a rebuild has made, the images' directory and the journal."""
    images, journal = tmp_path / "images", tmp_path / "journals" / "one.json"
    images.mkdir()
    path = tmp_path / "new" / "app.log"
    path.parent.mkdir()
    path.write_text("logged")
    reference = PathReference(RawPath(os.fsencode(path)), PathKind.REGULAR, (), 6)
    inventory = Inventory((reference,), (), (), (), (), (), ())
    with Tree(Path("/")) as tree:
        capture_subject(Subject(inventory, Pid(1), frozenset()), images, survey_place(tree, 0), None)
    path.unlink()
    path.parent.rmdir()
    rebuild(images, journal=journal)
    return path, images, journal


def test_what_was_made_stays_for_good(rebuilt):
    path, images, journal = rebuilt
    remaining = tuple(map(os.fsencode, (path.parent, path)))
    assert finish(images, journal=journal) == Finished(remaining)
    assert not journal.exists()
    assert undo(images, journal=journal).removed == []
    assert path.read_text() == "logged"


def test_what_is_gone_does_not_remain(rebuilt):
    path, images, journal = rebuilt
    path.unlink()
    assert finish(images, journal=journal) == Finished((os.fsencode(path.parent),))


def test_what_others_put_in_its_place_is_theirs(rebuilt):
    path, images, journal = rebuilt
    path.with_name("other").write_text("theirs")
    path.with_name("other").rename(path)
    assert os.fsencode(path) not in finish(images, journal=journal).remaining


def test_a_second_finish_finds_nothing(rebuilt):
    _, images, journal = rebuilt
    finish(images, journal=journal)
    assert finish(images, journal=journal) == Finished(())
