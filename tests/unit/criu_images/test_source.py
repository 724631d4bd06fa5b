"""Directories that change while they are read, and links between dumps that lead in circles."""

from __future__ import annotations

import os
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._formats import FILES, PSTREE
from llmux.criu_images._source import MAX_PARENTS, DirectorySource, open_source
from llmux.criu_images.errors import DamagedImage, ExitCode, NotADump, UnreadableImage

pytestmark = pytest.mark.demand("damaged")


@pytest.fixture
def source(maker):
    maker.whole(*(maker.reg(number, f"/tmp/{number:060}") for number in range(3, 2000)))
    with closing(DirectorySource(str(maker.directory))) as opened:
        yield opened


def test_an_image_removed_after_it_was_listed(source, maker):
    (maker.directory / "pstree.img").unlink()
    with pytest.raises(
        UnreadableImage, match=r"pstree\.img: it was removed while the dump was read"
    ) as caught:
        source.entries("pstree.img", PSTREE)
    assert caught.value.exit_code is ExitCode.DAMAGED


def replace_by_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("replace", "why"),
    [
        (Path.mkdir, "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (replace_by_link, "symbolic links"),
    ],
)
def test_an_image_replaced_by_something_else(source, maker, replace, why):
    path = maker.directory / "pstree.img"
    path.unlink()
    replace(path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(UnreadableImage, match=rf"pstree\.img: .*{why}"):
        source.entries("pstree.img", PSTREE)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_image_cut_short_while_it_is_read(source, maker):
    entries = source.entries("files.img", FILES)
    next(entries)
    os.truncate(maker.directory / "files.img", 5000)
    with pytest.raises(DamagedImage, match=r"files\.img, entry \d+, byte \d+: cut short in an entry"):
        list(entries)


def test_a_ghost_that_gets_shorter_between_two_looks(maker, monkeypatch):
    maker.whole(maker.reg(5, "/tmp/ghost"))
    maker.remaps({"orig_id": 5, "remap_id": 26, "remap_type": 1})
    maker.ghost(26, b"content")
    monkeypatch.setattr(DirectorySource, "size", lambda *_: 8)
    with pytest.raises(DamagedImage, match=r"ghost-file-1a\.img: it got shorter while it was read"):
        read_dump(maker.directory)


def test_an_image_that_cannot_be_read(source, monkeypatch):
    entries = source.entries("pstree.img", PSTREE)

    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("llmux.criu_images._source.read_entries", fail)
    with pytest.raises(UnreadableImage, match=r"pstree\.img: Input/output error"):
        next(entries)


@pytest.mark.parametrize("path", ["/nowhere", "a\0b", "/dev/null"])
def test_what_is_neither_a_directory_nor_an_archive(path):
    with pytest.raises(NotADump):
        open_source(path)


@pytest.mark.parametrize("target", [".", "../{name}", "earlier"])
def test_parent_links_in_a_circle_are_told_and_end(maker, target):
    maker.whole()
    earlier = maker.directory / "earlier"
    earlier.mkdir()
    (maker.directory / "parent").symlink_to(target.format(name=maker.directory.name))
    (earlier / "parent").symlink_to("..")
    parents = read_dump(maker.directory).parents
    assert [parent.problem for parent in parents][-1] == "it leads back to a dump that it is a parent of"
    assert len(parents) == (2 if target == "earlier" else 1)


def test_parent_links_without_end_are_followed_only_so_far(maker, monkeypatch):
    maker.whole()
    directory = maker.directory
    for _ in range(5):
        (directory / "parent").symlink_to("next")
        directory /= "next"
        directory.mkdir()
    assert MAX_PARENTS == 1000
    monkeypatch.setattr("llmux.criu_images._source.MAX_PARENTS", 3)
    assert len(read_dump(maker.directory).parents) == 3


def many(maker, count: int) -> Path:
    """Write a dump whose process has one file open at so many descriptors."""
    maker.whole()
    one = maker.image("one", "FDINFO", "fdinfo_entry", {"id": 2, "flags": 0, "type": 1, "fd": 3})
    data = one.read_bytes()
    one.unlink()
    (maker.directory / "fdinfo-7.img").write_bytes(data[:8] + data[8:] * count)
    return maker.directory


def test_a_million_entries_in_one_image(maker):
    assert len(read_dump(many(maker, 1_000_000)).tasks[0].descriptors) == 1_000_000


def test_memory_grows_as_the_entries_do(maker):
    peaks = []
    for count in (10_000, 20_000):
        directory = many(maker, count)
        tracemalloc.start()
        read_dump(directory)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2.2 * peaks[0]
