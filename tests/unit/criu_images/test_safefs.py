"""Hostile directories: links that lead away, swaps under our feet, and what a walk makes of them."""

from __future__ import annotations

import os
import stat

import pytest
from manifests import raw

from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import UnsafeLink

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root/dir").mkdir(parents=True)
    (tmp_path / "root/dir/file").write_text("inside")
    (tmp_path / "outside").write_text("outside")
    return tmp_path / "root"


@pytest.fixture
def tree(root):
    with Tree(root) as opened:
        yield opened


def read(tree: Tree, path: str) -> str:
    with tree.open(raw(path), os.O_RDONLY) as fd:
        return os.read(fd, 100).decode()


@pytest.mark.parametrize(
    "target", ["dir", "/dir", "./dir", "../../../dir", "/../dir", "dir/../dir", "other/../dir"]
)
def test_a_link_of_root_is_followed_within_the_root(root, tree, target):
    (root / "other").mkdir()
    (root / "link").symlink_to(target)
    assert read(tree, "/link/file") == "inside"
    assert tree.resolve(raw("/link")) == (b"/dir", (b"/link",))


def test_links_of_links(root, tree):
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("/dir")
    assert tree.resolve(raw("/one")) == (b"/dir", (b"/one", b"/two"))


def test_a_loop_ends(root, tree):
    (root / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="too many levels"):
        tree.resolve(raw("/loop/x"))


def test_the_last_component_is_not_followed(root, tree):
    (root / "link").symlink_to("dir/file")
    inode = tree.inspect(raw("/link"))
    assert inode is not None
    assert stat.S_ISLNK(inode.mode)
    with pytest.raises(OSError, match=r"Too many levels"):
        read(tree, "/link")


def test_nothing_above_the_root_is_reached(root, tree):
    (root / "up").symlink_to("../../../../../..")
    assert tree.inspect(raw("/up/outside")) is None
    assert tree.inspect(raw("/../outside")) is None


def test_a_file_on_the_way(tree):
    with pytest.raises(NotADirectoryError):
        tree.inspect(raw("/dir/file/x"))


def test_nothing_there(tree):
    assert tree.inspect(raw("/dir/none")) is None
    assert tree.inspect(raw("/none/none")) is None


@needs_root
@pytest.mark.parametrize("mode", [0o1777, 0o755])
def test_a_link_of_another_user_is_refused(root, tree, mode):
    (root / "dir").chmod(mode)
    (root / "dir/link").symlink_to("/dir")
    os.lchown(root / "dir/link", 1000, 1000)
    with pytest.raises(UnsafeLink, match=r"/dir/link on the way belongs to user 1000") as caught:
        tree.inspect(raw("/dir/link/file"))
    assert caught.value.owner == 1000


def test_a_link_swapped_in_after_the_walk_changes_nothing(root, tree):
    with tree.way_to(raw("/dir/new")) as way:
        (root / "dir").rename(root / "moved")
        (root / "dir").symlink_to("..")
        os.close(os.open(way.name, os.O_CREAT | os.O_WRONLY, dir_fd=way.directory))
    assert (root / "moved/new").exists()
    assert not (root.parent / "new").exists()


def test_only_a_regular_file_is_opened_as_one(root, tree):
    os.mkfifo(root / "pipe")
    (root / "dir/link").symlink_to("file")
    for path in ("/pipe", "/dir", "/dir/link"):
        with pytest.raises(OSError, match="no regular file"), tree.open_file(raw(path), os.O_RDONLY):
            pass
    with tree.open_file(raw("/dir/file"), os.O_RDONLY) as fd:
        assert os.read(fd, 1)
