"""Owner, mode, ACLs, attributes, flags and times: read, set, and what of them a place cannot hold."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from manifests import raw

from llmux.criu_images._facts import Unheld
from llmux.criu_images._linux import APPEND_ONLY, IMMUTABLE
from llmux.criu_images._metadata import (
    apply_flags,
    apply_metadata,
    clear_flags,
    find_unheld,
    read_metadata,
)
from llmux.criu_images._paths import RawPath
from llmux.criu_images.manifest import Metadata, Xattr

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")
ACL = b"system.posix_acl_access"
DEFAULT_ACL = b"system.posix_acl_default"


def packed_acl(*entries: tuple[int, int, int]) -> bytes:
    """Return the packed form (linux/posix_acl_xattr.h) of tags, permissions and ids, as ACL entries have them."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


FOR_USER_1234 = packed_acl(
    (1, 7, 2**32 - 1), (2, 5, 1234), (4, 4, 2**32 - 1), (16, 5, 2**32 - 1), (32, 0, 2**32 - 1)
)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_text("inside")
    return tmp_path


@contextmanager
def open_path(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        yield fd
    finally:
        os.close(fd)


def plain(mode: int, *xattrs: tuple[bytes, bytes], flags: int = 0) -> Metadata:
    pairs = tuple(Xattr(name=RawPath(name), value=RawPath(value)) for name, value in xattrs)
    return Metadata(
        mode=mode, uid=os.geteuid(), gid=os.getegid(), mtime_ns=1, atime_ns=1, xattrs=pairs, flags=flags
    )


def test_metadata_round_trip(root):
    path = root / "dir/file"
    path.chmod(0o640)
    os.setxattr(path, "user.note", b"a\0b")
    os.utime(path, ns=(5, 7))
    with open_path(path) as fd:
        before = read_metadata(fd)
    assert before.mtime_ns == 7
    assert before.xattrs == (Xattr(name=raw("user.note"), value=raw("a\0b")),)
    twin = root / "dir/twin"
    twin.touch()
    with open_path(twin) as fd:
        apply_metadata(fd, before)
        assert read_metadata(fd) == before


@needs_root
def test_set_user_id_and_capabilities_survive_the_change_of_owner(root):
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    wanted = Metadata(
        mode=stat.S_IFREG | 0o4755,
        uid=1000,
        gid=1000,
        mtime_ns=1,
        atime_ns=1,
        xattrs=(Xattr(name=raw("security.capability"), value=RawPath(capability)),),
    )
    with open_path(root / "dir/file") as fd:
        apply_metadata(fd, wanted)
        assert read_metadata(fd) == wanted


@needs_root
def test_a_links_own_owner_is_set_not_its_targets(root):
    link = root / "link"
    link.symlink_to("dir/file")
    wanted = Metadata(mode=stat.S_IFLNK | 0o777, uid=1000, gid=1000, mtime_ns=1, atime_ns=1)
    with open_path(link) as fd:
        apply_metadata(fd, wanted)
    assert (link.lstat().st_uid, link.lstat().st_mtime_ns) == (1000, 1)
    assert (root / "dir/file").stat().st_uid == 0


def test_an_acl_comes_back_with_the_mode(root):
    wanted = plain(stat.S_IFREG | 0o750, (ACL, FOR_USER_1234))
    with open_path(root / "dir/file") as fd:
        apply_metadata(fd, wanted)
        assert read_metadata(fd) == wanted


def test_what_a_new_file_inherits_from_its_directory_goes(root):
    with open_path(root / "dir") as fd:
        apply_metadata(fd, plain(stat.S_IFDIR | 0o2775, (DEFAULT_ACL, FOR_USER_1234)))
    new = root / "dir/new"
    new.mkdir()
    assert {ACL.decode(), DEFAULT_ACL.decode()} <= set(os.listxattr(new))
    wanted = plain(stat.S_IFDIR | 0o755)
    with open_path(new) as fd:
        apply_metadata(fd, wanted)
        assert read_metadata(fd) == wanted


@needs_root
@pytest.mark.parametrize("flag", [IMMUTABLE, APPEND_ONLY])
@pytest.mark.parametrize("name", ["dir", "dir/file"])
def test_flags_are_read_set_and_cleared(root, name, flag):
    with open_path(root / name) as fd:
        apply_flags(fd, flag)
        try:
            assert read_metadata(fd).flags == flag
            with pytest.raises(PermissionError):
                (root / name).rename(root / "other")
        finally:
            clear_flags(fd, flag)
        assert read_metadata(fd).flags == 0


def test_what_a_place_cannot_hold_is_found_out_and_leaves_nothing(root):
    fits = plain(
        stat.S_IFREG | 0o644, (b"user.note", b"x"), (ACL, FOR_USER_1234), (DEFAULT_ACL, FOR_USER_1234)
    )
    odd = plain(stat.S_IFREG | 0o644, (b"user.note", b"x"), (b"unheard-of.name", b"x"))
    before = (root / "dir").stat()
    with open_path(root / "dir") as fd:
        assert find_unheld(fd, fits) is None
        assert find_unheld(fd, odd) == Unheld(frozenset({raw("unheard-of.name")}), flags=False)
    assert (root / "dir").stat() == before


def test_what_cannot_be_tried_is_not_said_to_fail():
    with open_path(Path("/proc/self")) as fd:
        assert find_unheld(fd, plain(stat.S_IFREG, (b"user.note", b"x"))) is None
