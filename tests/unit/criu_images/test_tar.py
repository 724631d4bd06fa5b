from __future__ import annotations

import tarfile
from contextlib import closing

import pytest

from llmux.criu_images import _tar
from llmux.criu_images._tar import read_members
from llmux.criu_images._unpack import ByteStream
from llmux.criu_images.errors import ArchiveRefused, NotADump

from .archives import archive, header, member

pytestmark = pytest.mark.demand("archive")
LONG = "d/" + "x" * 4000
END = bytes(1024)


@pytest.fixture
def read(tmp_path):
    def members(data: bytes) -> list[tuple[_tar.Member, bytes]]:
        path = tmp_path / "a.tar"
        path.write_bytes(data)
        with closing(ByteStream(str(path))) as stream:
            return [
                (item, stream.exactly(item.size, item.name) if item.regular else b"")
                for item in read_members(stream)
            ]

    return members


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_sizes_and_data(read, form):
    made = [member("d", kind=tarfile.DIRTYPE), member("d/a", b"one"), member("d/b", b"x" * 512), member("c")]
    found = read(archive(made, form))
    assert [(item.name, item.regular, data) for item, data in found] == [
        ("d", False, b""),
        ("d/a", True, b"one"),
        ("d/b", True, b"x" * 512),
        ("c", True, b""),
    ]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", [LONG, "d/ü\n", "d/\udcff"])
def test_long_and_odd_names(read, form, name):
    found = read(archive([member(name, b"1"), member("after", b"2")], form))
    assert [(item.name, data) for item, data in found] == [(name, b"1"), ("after", b"2")]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("target", ["../pre", LONG])
def test_symlinks(read, form, target):
    [(item, _)] = read(archive([member("parent", kind=tarfile.SYMTYPE, linkname=target)], form))
    assert (item.symlink, item.link) == (True, target)


def test_data_that_nobody_reads_is_skipped(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(archive([member("a", b"x" * 5000), member("b")]))
    with closing(ByteStream(str(path))) as stream:
        assert [item.name for item in read_members(stream)] == ["a", "b"]


def test_a_file_with_holes_is_told_and_passed_by(read):
    sparse = bytearray(header("holes", 512, tarfile.GNUTYPE_SPARSE))
    sparse[482] = 1
    sparse[148:156] = b"%06o\0 " % (sum(sparse[:148] + b" " * 8 + sparse[156:]) & 0o777777)
    first, last = bytearray(512), bytes(512)
    first[504] = 1
    found = read(bytes(sparse) + first + last + b"x" * 512 + header("after", 0) + END)
    assert [(item.name, item.sparse, data) for item, data in found] == [
        ("holes", True, b"x" * 512),
        ("after", False, b""),
    ]


def test_what_claims_to_be_no_file_has_no_data(read):
    found = read(header("d", 1 << 30, tarfile.DIRTYPE) + header("after", 0) + END)
    assert [item.name for item, _ in found] == ["d", "after"]


def extension(data: bytes, kind: bytes = tarfile.XHDTYPE, size: int | None = None) -> bytes:
    return header("x", len(data) if size is None else size, kind) + data.ljust(512, b"\0")


def test_a_global_header_holds_for_all_that_follow(read):
    common = extension(b"9 size=0\n", tarfile.XGLTYPE)
    found = read(common + header("a", 512) + header("b", 512) + END)
    assert [(item.name, item.size) for item, _ in found] == [("a", 0), ("b", 0)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (header("a", 512), "member a: it is cut short"),
        (header("a", 0), "it is cut short, after 512 bytes"),
        (header("a", 0) + b"rubbish".ljust(512), "no tar header at byte 512: bad checksum"),
        (header("a", 1 << 40), "member a: it is cut short"),
        (header("a", -1), "member a: a size of -1 bytes"),
        (extension(b"", tarfile.GNUTYPE_LONGNAME, size=1 << 33), "an extended header of 8589934592 bytes"),
        (extension(b"", tarfile.XHDTYPE, size=1 << 33), "an extended header of 8589934592 bytes"),
        (extension(b"99 path=a\n"), "byte 0 of an extended header is no record"),
        (extension(b"0 path=a\n"), "byte 0 of an extended header is no record"),
        (extension(b"9 path=a\n-1 a=b\n"), "byte 9 of an extended header is no record"),
        (extension(b"x path=a\n"), "byte 0 of an extended header is no record"),
        (extension(b"11 size=-1\n") + header("a", 0), "member a: a size of '-1'"),
        (extension(b"33 size=" + b"9" * 24 + b"\n") + header("a", 0), "member a: a size of '9999"),
    ],
)
def test_lies_and_cuts_are_refused(read, data, why):
    with pytest.raises(ArchiveRefused) as caught:
        read(data)
    assert why in str(caught.value)
    assert caught.value.archive.endswith("/a.tar")


def test_a_chain_of_extended_headers_is_followed_without_recursion(read, monkeypatch):
    chain = extension(b"a" * 5, tarfile.GNUTYPE_LONGNAME) * 3000
    assert [item.name for item, _ in read(chain + header("b", 0) + END)] == ["aaaaa"]
    monkeypatch.setattr(_tar, "MAX_HEADERS", 3000)
    with pytest.raises(ArchiveRefused, match="more than 3000 members"):
        read(chain + header("b", 0) + END)


@pytest.mark.parametrize("data", [b"", b"no archive", b"#!/bin/sh\n" * 100, bytes(10240)])
def test_what_is_no_archive(read, data):
    with pytest.raises(NotADump, match="neither a directory nor a tar archive"):
        read(data)
