"""A file's other names are found near and far on its mount, and no further, after so many entries at most."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from manifests import raw

from llmux.criu_images._links import LinkSearch
from llmux.criu_images._safefs import Tree

pytestmark = pytest.mark.demand("hard-links", "link-remap-device")


@pytest.fixture
def tree(tmp_path):
    with Tree(tmp_path) as tree:
        yield tree


def file_with_links(base: Path, first: str, *others: str) -> None:
    for name in (first, *others):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
    (base / first).write_text("x")
    for name in others:
        (base / name).hardlink_to(base / first)


def names(search: LinkSearch, *known: str) -> set[str]:
    inode = search.tree.inspect(raw(known[0]))
    assert inode is not None
    return {os.fsdecode(name) for name in search.names_of(inode, map(raw, known))}


def test_beside_below_above_and_far_away(tmp_path, tree):
    file_with_links(tmp_path, "a/b/one", "a/b/beside", "a/b/c/below", "a/above", "far/away/other")
    assert names(LinkSearch(tree), "/a/b/one") == {
        "/a/b/one",
        "/a/b/beside",
        "/a/b/c/below",
        "/a/above",
        "/far/away/other",
    }


def test_two_groups_are_not_mixed(tmp_path, tree):
    file_with_links(tmp_path, "a/one", "b/one")
    file_with_links(tmp_path, "a/two", "b/two")
    search = LinkSearch(tree)
    assert names(search, "/a/one") == {"/a/one", "/b/one"}
    assert names(search, "/b/two") == {"/a/two", "/b/two"}


def test_nothing_is_looked_at_for_names_that_are_all_known(tmp_path, tree):
    file_with_links(tmp_path, "a/one", "b/two")
    (tmp_path / "a/more").mkdir()
    search = LinkSearch(tree, left=10)
    assert names(search, "/a/one", "/b/two") == {"/a/one", "/b/two"}
    assert search.left == 10


def test_after_so_many_entries_it_gives_up(tmp_path, tree):
    file_with_links(tmp_path, "a/one", "z/two")
    for number in range(20):
        (tmp_path / f"m{number}").mkdir()
        (tmp_path / f"m{number}/file").touch()
    search = LinkSearch(tree, left=30)
    assert names(search, "/a/one") == {"/a/one"}
    assert search.left <= 0
    assert names(LinkSearch(tree, left=100), "/a/one") == {"/a/one", "/z/two"}


def test_a_known_names_own_directory_is_always_read_whole(tmp_path, tree):
    file_with_links(tmp_path, "a/one", "a/two", "b/three")
    assert names(LinkSearch(tree, left=0), "/a/one") == {"/a/one", "/a/two"}


def test_a_directory_that_vanishes_or_cannot_be_read_is_passed_by(tmp_path, tree):
    file_with_links(tmp_path, "a/one", "c/two")
    (tmp_path / "b").symlink_to("c")
    assert names(LinkSearch(tree), "/a/one") == {"/a/one", "/c/two"}


def test_in_an_overlay_only_its_writable_layer_is_looked_at(tmp_path, tree):
    file_with_links(tmp_path, "a/one", "old/two")
    mount = tree.inspect(raw("/")).mount
    born = tree.inspect(raw("/old")).birth_ns
    if not born:
        pytest.skip("this file system keeps no birth times")
    assert names(LinkSearch(tree, layer_mount=mount, start_ns=born), "/a/one") == {"/a/one", "/old/two"}
    assert names(LinkSearch(tree, layer_mount=mount, start_ns=born + 1), "/a/one") == {"/a/one"}


@pytest.mark.root
def test_another_mount_is_not_entered():
    """/dev/shm holds a file and /dev, above it, is another mount: the search ends at the mount's root."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory, Tree(Path("/")) as tree:
        file_with_links(Path(directory), "a/one", "b/two")
        (Path(directory) / "gone").hardlink_to(Path(directory) / "a/one")
        (Path(directory) / "gone").unlink()
        assert names(LinkSearch(tree), f"{directory}/a/one") == {f"{directory}/a/one", f"{directory}/b/two"}
