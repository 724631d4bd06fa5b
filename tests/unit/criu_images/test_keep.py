"""Link remaps that one restore at a time may use: locked, and seen to be, whoever looks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from manifests import facts, file_entry, manifest, raw, seen_file
from test_locks import lock

from llmux.criu_images._keep import Kept, find_kept
from llmux.criu_images._plan import make_plan
from llmux.criu_images._safefs import Tree
from llmux.criu_images.manifest import LockKind

pytestmark = pytest.mark.demand("link-remap")

ENTRY = file_entry("/link_remap.6", "/sem", consumed=(raw("/link_remap.6"),))
WHOLE = manifest(files=(file_entry("/other"), ENTRY))
FIRST = frozenset({raw("/link_remap.6")})


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    (tmp_path / "link_remap.6").write_bytes(b"")
    os.link(tmp_path / "link_remap.6", tmp_path / "sem")
    (tmp_path / "other").write_bytes(b"")
    with Tree(tmp_path) as tree:
        yield tree


def test_what_one_restore_has_another_sees(tree: Tree) -> None:
    assert find_kept(WHOLE, tree) == frozenset()
    with Kept(WHOLE) as ours, Kept(WHOLE) as theirs:
        assert list(ours.take_all(tree)) == [b"/link_remap.6"]
        assert find_kept(WHOLE, tree) == FIRST
        with pytest.raises(OSError, match="another restore that is not over uses it") as caught:
            list(theirs.take_all(tree))
        assert caught.value.errno == errno.EBUSY
    assert find_kept(WHOLE, tree) == frozenset()


def test_a_copy_of_the_descriptor_keeps_it(tree: Tree) -> None:
    with Kept(WHOLE) as kept:
        list(kept.take_all(tree))
        copy = os.dup(kept.fds[raw("/link_remap.6")])
    assert find_kept(WHOLE, tree) == FIRST
    os.close(copy)
    assert find_kept(WHOLE, tree) == frozenset()


def test_the_partner_alone_tells(tree: Tree, tmp_path: Path) -> None:
    with Kept(WHOLE) as kept:
        list(kept.take_all(tree))
        (tmp_path / "link_remap.6").unlink()
        assert find_kept(WHOLE, tree) == FIRST


def test_it_is_taken_once(tree: Tree) -> None:
    with Kept(WHOLE) as kept, tree.open(raw("/sem"), os.O_PATH) as fd:
        kept.take(ENTRY, fd)
        assert list(kept.take_all(tree)) == []


def test_only_link_remaps_are(tree: Tree) -> None:
    with Kept(WHOLE) as kept, tree.open(raw("/other"), os.O_PATH) as fd:
        kept.take(file_entry("/other"), fd)
        assert kept.fds == {}


@pytest.mark.parametrize("kind", LockKind)
def test_not_what_the_tree_itself_locks(tree: Tree, kind: LockKind) -> None:
    locked = manifest(files=(ENTRY,), locks=(lock("/sem", kind),))
    with Kept(locked) as kept:
        assert list(kept.take_all(tree)) == []
        assert find_kept(locked, tree) == frozenset()


def test_a_plan_refuses_what_is_kept() -> None:
    seen = {"/link_remap.6": seen_file(), "/sem": seen_file()}
    (conflict,) = make_plan(manifest(files=(ENTRY,)), facts(seen, kept=FIRST)).conflicts
    assert conflict.subject == "/link_remap.6"
    assert conflict.criu_says == "Couldn't unlink remap /link_remap.6: No such file or directory"
