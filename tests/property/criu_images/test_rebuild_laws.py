"""Laws of capture, rebuild and undo over random trees, on a real file system and without CRIU."""

# ruff: noqa: PTH103, PTH104, PTH108, PTH112, PTH113, PTH114, PTH211 - raw bytes, which pathlib does not take

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from steps import DONE, FAILED, fail_at, in_child
from trees import Directory, make, one_name_each, paths_below, snapshot, subject_of, trees

from llmux.criu_images import plan, rebuild, undo, verify
from llmux.criu_images._capture import capture_subject, survey_place
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import CriuImagesError

quick = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def _has_directories(tree: dict) -> bool:
    return any(isinstance(node, Directory) for node in tree.values())


def _is_theirs_to_swap(path: bytes, elsewhere: Path) -> bool:
    return os.path.isdir(path) and not os.path.islink(path) and not path.startswith(os.fsencode(elsewhere))


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

    def lose(self, data: st.DataObject) -> None:
        """Leave some of the tree in the root, as if it had always been there."""
        self.rebuild()
        self.journal.unlink(missing_ok=True)
        found = paths_below(self.here)
        for path in data.draw(st.sets(st.sampled_from(found))) if found else ():
            _remove(path)

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
        it.lose(data)
        before = snapshot(it.here)
        it.rebuild()
        assert snapshot(it.here, directory_times=False) == snapshot(it.there, directory_times=False)
        assert it.undo().left == []
        assert snapshot(it.here) == before
        assert not it.journal.exists()


@pytest.mark.demand("leftover-sandbox")
@quick
@given(trees, st.integers(1, 120), st.data())
def test_a_rebuild_that_fails_at_any_step_leaves_nothing(tree, number, data):
    with world(tree) as it:
        it.lose(data)
        before = snapshot(it.here, directory_times=False)
        code = in_child(it.rebuild, fail_at(number))
        assert code in {FAILED, DONE}
        if code == DONE:  # it had fewer steps, or that one may fail
            it.undo()
        assert snapshot(it.here, directory_times=False) == before


@pytest.mark.demand("hard-links")
@quick
@given(trees)
def test_hard_links_are_one_file_again_whichever_name_the_dump_knows(tree):
    with world({}) as it:
        make(tree, os.fsencode(it.there))
        _scatter_links(os.fsencode(it.there))
        with Tree(it.there) as files:
            subject = one_name_each(subject_of(it.there), it.there)
            capture_subject(subject, it.images, survey_place(files, 0), None)
        it.rebuild()
        assert snapshot(it.here) == snapshot(it.there)


@pytest.mark.root
@quick
@given(trees.filter(_has_directories), st.integers(1, 90), st.integers(0, 99))
def test_who_swaps_a_directory_for_a_link_meanwhile_gets_nothing_written_elsewhere(tree, number, choice):
    with world(tree) as it:
        elsewhere = it.here / "elsewhere-of-theirs"
        elsewhere.mkdir()
        for path in paths_below(it.there):
            if os.path.isdir(path) and not os.path.islink(path):
                target = os.fsencode(elsewhere) + path[len(os.fsencode(it.there)) :]
                os.makedirs(target, exist_ok=True)
        before = snapshot(elsewhere)

        def swap(step: int) -> None:
            if step != number:
                return
            victims = [path for path in paths_below(it.here) if _is_theirs_to_swap(path, elsewhere)]
            if victims:
                victim = victims[choice % len(victims)]
                os.rename(victim, victim[:-1] + b"~" if len(victim) > 1 else victim + b"~")
                os.symlink(b"/elsewhere-of-theirs", victim)
                os.chown(victim, 12345, 12345, follow_symlinks=False)

        assert in_child(it.rebuild, swap) in {FAILED, DONE}
        assert snapshot(elsewhere) == before
        with suppress(CriuImagesError):
            it.undo()
        assert snapshot(elsewhere) == before


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


def _scatter_links(root: bytes) -> None:
    """Give each file one more name, in a directory that the dump knows nothing of otherwise."""
    files = [
        path
        for path in paths_below(Path(os.fsdecode(root)))
        if os.path.isfile(path) and not os.path.islink(path)
    ]
    for number, path in enumerate(files):
        directory = b"%s/more-%d" % (root, number % 2)
        os.makedirs(directory, exist_ok=True)
        os.link(path, b"%s/%d" % (directory, number))
