"""Digests of what is not carried: which come first, and what is left when the time is up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from manifests import file_entry, inode

from llmux.criu_images._gather import GatheredFile
from llmux.criu_images._identify import identify
from llmux.criu_images._policy import Depth
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import CaptureFailed


@pytest.fixture
def tree(tmp_path):
    for name, size in (("big", 3 << 20), ("small", 10), ("built", 5), ("carried", 7)):
        (tmp_path / name).write_bytes(b"x" * size)
    with Tree(tmp_path) as tree:
        yield tree


def left(name: str, size: int, build_id: str | None = None, depth=Depth.SAMPLED) -> GatheredFile:
    entry = file_entry(f"/{name}", size=size, digest=None, carried=None, build_id=build_id)
    return GatheredFile(entry, inode(), carry=False, depth=depth)


BIG, SMALL, BUILT = left("big", 3 << 20), left("small", 10), left("built", 5, "ab")


def digested(found) -> list[str]:
    return [file.entry.names[0].decode() for file in found.files if file.entry.digest]


def test_within_the_time_all_are_digested_by_samples(tree):
    found = identify(tree, [BIG, SMALL, BUILT], clock=lambda: 0.0)
    assert digested(found) == ["/big", "/small", "/built"]
    assert all(file.entry.digest.startswith("sha256-sampled:") for file in found.files)
    assert found.bytes == (1 << 20) + 15


def test_what_has_no_build_id_comes_first_and_then_the_small(tree):
    ticks = iter([0.0, 0.1, 0.6, 0.7])
    found = identify(tree, [BUILT, BIG, SMALL], clock=lambda: next(ticks))
    assert digested(found) == ["/small"]
    assert [file.entry.names for file in found.files] == [file.entry.names for file in (BUILT, BIG, SMALL)]


def test_what_a_rule_wants_whole_is_read_whole_whatever_the_time(tree):
    found = identify(tree, [replace(BIG, depth=Depth.WHOLE), SMALL], seconds=-1, clock=lambda: 0.0)
    assert digested(found) == ["/big"]
    assert found.files[0].entry.digest.startswith("sha256:")
    assert found.bytes == 3 << 20


def test_what_is_carried_or_not_to_be_digested_is_not_read(tree):
    assert identify(tree, [replace(SMALL, depth=Depth.NONE)]).bytes == 0


def test_a_file_that_is_shorter_or_gone_fails_the_capture(tree):
    for file in (left("small", 11), left("none", 1)):
        with pytest.raises(CaptureFailed):
            identify(tree, [file])
