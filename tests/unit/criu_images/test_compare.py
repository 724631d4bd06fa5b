"""A recorded file against what is at its path: the same, compatible, refused by CRIU, or of other content."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest
from manifests import DIGEST, OTHER_DIGEST, file_entry, inode, raw

from llmux.criu_images._compare import Likeness, compare, has_grown, is_very_file
from llmux.criu_images._facts import Seen

LIBRARY = file_entry("/lib.so", carried=None, build_id="aabb0000", digest=DIGEST, inode=7, ctime_ns=3)
DATA = file_entry("/icu.dat", carried=None)
UNDIGESTED = file_entry("/lib.so", carried=None, build_id="aabb", digest=None)
LOG = file_entry("/log", carried=None, demanded_size=None)
SAME, COMPATIBLE, REFUSED, OTHER = Likeness

CASES = {
    "same content, later time": (LIBRARY, inode(mtime_ns=9), Seen(digest=DIGEST, build_id="aabb"), SAME, "of the same content"),
    "the very file is not read": (LIBRARY, inode(number=7, ctime_ns=3), Seen(), SAME, "the captured file itself"),
    "another inode of the same time": (LIBRARY, inode(number=8, ctime_ns=3), Seen(build_id="aabb"), OTHER, "has other content"),
    "patched under its build-id and time": (
        LIBRARY, inode(number=7, ctime_ns=4), Seen(digest=OTHER_DIGEST, build_id="aabb"), OTHER, "under the same build-id"),
    "another build of the same size and time": (LIBRARY, inode(), Seen(digest=OTHER_DIGEST, build_id="ccdd"), REFUSED, "its build-id is ccdd"),
    "stripped of its build-id": (UNDIGESTED, inode(), Seen(), OTHER, "has no build-id"),
    "older library": (LIBRARY, inode(size=7, mtime_ns=0), Seen(), REFUSED, "older (of 1970-01-01 00:00:00"),
    "newer library": (LIBRARY, inode(size=7, mtime_ns=86400 * 10**9), Seen(), REFUSED, "newer (of 1970-01-02 00:00:00"),
    "another mode": (DATA, inode(stat.S_IFREG | 0o600), Seen(digest=DIGEST), REFUSED, "has mode 0100600"),
    "data of other content": (DATA, inode(), Seen(digest=OTHER_DIGEST), OTHER, "has other content than in the dump"),
    "undigested, of the same time": (UNDIGESTED, inode(), Seen(build_id="aabb"), SAME, "of the same size, mode and time"),
    "undigested, of another time": (UNDIGESTED, inode(mtime_ns=9), Seen(build_id="aabb"), COMPATIBLE, "CRIU will accept its size, mode and build-id"),
    "undigested data of another time": (
        DATA.model_copy(update={"digest": None}), inode(mtime_ns=9), Seen(), COMPATIBLE, "CRIU will accept its size and mode"),
    "appended to": (LOG, inode(size=101), Seen(), COMPATIBLE, "only appends to it"),
    "not appended to": (LOG, inode(), Seen(), SAME, "only appended to"),
    "a time past all calendars": (LIBRARY, inode(size=7, mtime_ns=2**62), Seen(), REFUSED, "newer (of 2116-"),
}  # fmt: skip


@pytest.mark.parametrize(("entry", "here", "seen", "likeness", "says"), CASES.values(), ids=CASES)
def test_a_file_is_compared(entry, here, seen, likeness, says):
    found = compare(entry, entry.names[0], here, replace(seen, inode=here))
    assert found.likeness is likeness
    assert says in found.found
    assert (found.criu_says is not None) is (likeness is REFUSED)
    assert str(found).startswith(entry.names[0].decode() + ": ")


def test_a_file_of_an_unknown_inode_is_not_the_very_file():
    assert not is_very_file(DATA, inode(ctime_ns=0))


@pytest.mark.parametrize(
    ("size", "digest", "grown"),
    [(101, DIGEST, True), (100, DIGEST, False), (101, OTHER_DIGEST, False), (99, None, False)],
)
def test_a_file_has_grown_where_its_first_bytes_are_the_recorded_ones(size, digest, grown):
    assert has_grown(file_entry("/log"), inode(size=size), Seen(digest=digest)) is grown
    assert not has_grown(file_entry("/log", digest=None), inode(size=size), Seen(digest=None))


def test_paths_are_shown_escaped():
    entry = file_entry("/a", carried=None)
    assert str(compare(entry, raw("/a\nb"), inode(size=7), Seen())).startswith(r"/a\nb: has 7 bytes")
