"""What is opened of a checkpoint's directory, and that a change of its images is noticed."""

from __future__ import annotations

import os

import pytest

from llmux.criu_images._checkpoint import (
    find_changed,
    image_names,
    open_directory,
    open_file,
    open_side_directory,
    read_stamps,
)


@pytest.fixture
def checkpoint(tmp_path):
    """Give a directory with two images, and that directory open."""
    (tmp_path / "core-1.img").write_bytes(b"core")
    (tmp_path / "files.img").write_bytes(b"files")
    (tmp_path / "dump.log").touch()
    with open_directory(tmp_path) as fd:
        yield tmp_path, fd


def test_only_a_regular_file_is_opened_and_nothing_is_waited_for(checkpoint):
    path, fd = checkpoint
    (path / "link").symlink_to("core-1.img")
    (path / "directory").mkdir()
    os.mkfifo(path / "fifo")
    with open_file("core-1.img", fd) as file:
        assert os.read(file, 9) == b"core"
    for name, why in (("link", "symbolic link"), ("directory", "no regular"), ("fifo", "no regular")):
        with pytest.raises(OSError, match=why), open_file(name, fd):
            pass
    with pytest.raises(FileNotFoundError), open_file("nothing", fd):
        pass


def test_the_callers_directory_may_be_a_link_and_the_copies_may_not(checkpoint, tmp_path):
    path, fd = checkpoint
    (path / "elsewhere").mkdir()
    (path / "llmux").symlink_to("elsewhere")
    with pytest.raises(NotADirectoryError), open_side_directory(fd):
        pass
    (tmp_path / "alias").symlink_to(path)
    with open_directory(tmp_path / "alias") as same:
        assert image_names(same) == ["core-1.img", "files.img"]


def rewrite(path):
    """Write the same length and set the times back, as somebody would who wants not to be noticed."""
    before = path.stat()
    path.write_bytes(b"CORE")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path):
    os.link(path, path.with_name("kept"))
    path.unlink()
    path.write_bytes(b"core")


@pytest.mark.parametrize("change", [rewrite, replace, os.unlink, lambda path: os.truncate(path, 3)])
def test_each_change_of_an_image_is_found(checkpoint, change):
    path, fd = checkpoint
    stamps = read_stamps(fd)
    assert find_changed(stamps, fd) is None
    change(path / "core-1.img")
    assert find_changed(stamps, fd) == "core-1.img"


def test_what_is_no_image_may_change(checkpoint):
    path, fd = checkpoint
    stamps = read_stamps(fd)
    (path / "dump.log").write_text("more")
    (path / "restore.log").touch()
    assert find_changed(stamps, fd) is None
