"""Laws of capture, rebuild and undo over random trees, on a real file system and without CRIU."""

# ruff: noqa: PTH108, PTH112, PTH114 - raw bytes, which pathlib does not take

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trees import make, paths_below, snapshot, subject_of, trees

from llmux.criu_images import plan, rebuild, undo, verify
from llmux.criu_images._capture import capture_subject, survey_place
from llmux.criu_images._safefs import Tree

quick = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


class World:
    """A captured tree, an empty root to rebuild it in, and a place for the journal."""

    def __init__(self, base: Path, tree: dict) -> None:
        self.there, self.here, self.images = base / "there", base / "here", base / "images"
        for directory in (self.there, self.here, self.images):
            directory.mkdir()
        self.journal = base / "journals" / "one.json"
        make(tree, os.fsencode(self.there))
        with Tree(self.there) as files:
            capture_subject(subject_of(self.there), self.images, survey_place(files, 0), None)

    def rebuild(self):
        return rebuild(self.images, root=self.here, journal=self.journal)

    def undo(self):
        return undo(self.images, root=self.here, journal=self.journal)


@contextmanager
def world(tree: dict) -> Iterator[World]:
    base = Path(tempfile.mkdtemp(prefix="llmux-laws-"))
    try:
        yield World(base, tree)
    finally:
        shutil.rmtree(base)


@quick
@given(trees)
@pytest.mark.demand("file-metadata", "losable-files")
def test_a_rebuilt_root_equals_the_captured_one(tree):
    with world(tree) as it:
        it.rebuild()
        assert snapshot(it.here) == snapshot(it.there)
        verify(it.images)


@quick
@given(trees)
def test_nothing_is_left_to_do_after_a_rebuild(tree):
    with world(tree) as it:
        it.rebuild()
        first = snapshot(it.here)
        assert plan(it.images, root=it.here).actions == ()
        assert plan(it.images, root=it.here).conflicts == ()
        it.rebuild()
        assert snapshot(it.here) == first


@quick
@given(trees, st.data())
def test_undo_gives_back_what_was_there(tree, data):
    with world(tree) as it:
        it.rebuild()
        it.journal.unlink(missing_ok=True)
        lost = data.draw(st.sets(st.sampled_from(paths_below(it.here)))) if paths_below(it.here) else set()
        for path in lost:
            _remove(path)
        before = snapshot(it.here, directory_times=False)
        it.rebuild()
        assert snapshot(it.here, directory_times=False) == snapshot(it.there, directory_times=False)
        assert it.undo().left == []
        assert snapshot(it.here, directory_times=False) == before
        assert not it.journal.exists()


@quick
@given(trees)
def test_a_captured_root_is_only_read(tree):
    with world({}) as it:
        make(tree, os.fsencode(it.there))
        before = snapshot(it.there)
        with Tree(it.there) as files:
            capture_subject(subject_of(it.there), it.images, survey_place(files, 0), None)
        assert snapshot(it.there) == before


def _remove(path: bytes) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
