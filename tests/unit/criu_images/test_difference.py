"""The sum over a writable layer; on a plain directory births stand in for the overlay's, which integration tests have."""

from __future__ import annotations

import os

import pytest

from llmux.criu_images import _difference
from llmux.criu_images._difference import measure_difference
from llmux.criu_images._linux import glimpse


@pytest.fixture
def layer(tmp_path):
    root, images = tmp_path / "root", tmp_path / "root/images"
    images.mkdir(parents=True)
    (images / "pages-1.img").write_bytes(b"x" * 9000)
    (root / "etc").mkdir()
    (root / "etc/one").write_bytes(b"x" * 4096)
    (root / "etc/two").hardlink_to(root / "etc/one")
    (root / "link").symlink_to("/etc")
    (root / "sparse").write_bytes(b"x" * 4096)
    os.truncate(root / "sparse", 1 << 30)
    return root, images


def mount_of(path) -> int:
    fd = os.open(path, os.O_PATH)
    try:
        return glimpse(fd, b"").mount
    finally:
        os.close(fd)


def test_data_counts_once_and_holes_and_the_images_do_not(layer):
    root, images = layer
    found = measure_difference(root, mount_of(root), 0, images)
    links = os.lstat(root / "link")
    assert found.bytes == 2 * 4096 + min(links.st_size, links.st_blocks * 512)
    assert found.known_by == "measured: the overlay's writable layer and /dev/shm"


def test_what_is_older_and_what_is_below_it_does_not_count(layer):
    root, images = layer
    assert measure_difference(root, mount_of(root), 2**62, images).bytes == 0


def test_other_mounts_do_not_count(layer):
    root, images = layer
    assert measure_difference(root, 0, 0, images).bytes == 0


def test_past_the_most_entries_it_says_so(layer, monkeypatch):
    root, images = layer
    monkeypatch.setattr(_difference, "_MOST_ENTRIES", 2)
    found = measure_difference(root, mount_of(root), 0, images)
    assert found.known_by.endswith("of 2 entries: it may be more")
