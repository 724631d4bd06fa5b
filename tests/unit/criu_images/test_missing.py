from __future__ import annotations

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._missing import find_missing
from llmux.criu_images.manifest import FreeKind, Origin

from .manifests import directory_entry, file_entry, free_name, manifest, node_entry, socket_entry


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return root


def missing(maker, root, manifest=None):
    return {
        item.path: item for item in find_missing(take_inventory(read_dump(maker.directory)), manifest, root)
    }


@pytest.mark.demand("device")
def test_what_must_exist_and_does_not(maker, root):
    maker.busy()
    found = missing(maker, root)
    kinds = {path: item.kind for path, item in found.items()}
    assert kinds == {
        b"/bin/true": "regular file",
        b"/tmp/a\nb": "regular file",
        b"/dev/shm/link_remap.5": "link remap",
        b"/fifo": "fifo",
        b"/etc": "watched path",
        b"/run": "directory",
    }
    assert {item.found for item in found.values()} == {"nothing is here"}


def test_what_is_here_is_not_missing(maker, root):
    maker.whole(maker.reg(3, "/log"), maker.unix(6, b"/run/s\0", state=10), fds={5: 3, 6: 6})
    (root / "run").mkdir()
    (root / "bin").mkdir()
    for name in ("log", "bin/true"):
        (root / name).touch()
    assert missing(maker, root) == {}


def test_what_only_the_restore_makes_and_processes_files_are_not_missing(maker, root):
    maker.whole(maker.reg(3, "/tmp/gone"), maker.reg(4, "/proc/7/maps"), maker.reg(5, "/proc/x"), fds={5: 3})
    maker.remaps({"orig_id": 3, "remap_id": 1, "remap_type": 1})
    maker.ghost(1)
    assert set(missing(maker, root)) == {b"/bin/true", b"/proc/x"}


def test_the_manifest_adds_hard_links_and_says_who_brings_what(maker, root):
    maker.whole(maker.reg(3, "/shm/a"), fds={5: 3})
    recorded = manifest(
        files=(
            file_entry("/shm/a", "/shm/b"),
            file_entry("/bin/true", carried=None, origin=Origin.IMAGE),
        ),
        directories=(directory_entry("/shm"),),
        nodes=(node_entry("/dev/x"),),
        free_names=(free_name("/sock", FreeKind.SOCKET),),
        sockets=(socket_entry(b"/peer", external=True),),
    )
    assert {path: item.mended_by for path, item in missing(maker, root, recorded).items()} == {
        b"/shm": "rebuild",
        b"/shm/a": "rebuild",
        b"/shm/b": "rebuild",
        b"/bin/true": "the image that the dump was made with",
        b"/dev/x": "the container's start, with this device or kernel file",
        b"/peer": "the program that serves it",
    }


def test_a_way_that_cannot_be_walked_is_said(maker, root):
    maker.whole(maker.reg(3, "/a/b"), fds={5: 3})
    (root / "a").touch()
    assert missing(maker, root)[b"/a/b"].found.startswith("it cannot be reached: ")


def test_nothing_outside_the_root_is_looked_at(maker, root):
    maker.whole(maker.reg(3, "/out/passwd"), fds={5: 3})
    (root / "out").symlink_to("/etc")
    assert b"/out/passwd" in missing(maker, root)
