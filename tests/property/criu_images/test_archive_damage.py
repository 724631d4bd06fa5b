"""However an archive is cut or changed, it reads as its directory does, or is refused with an error of ours."""

from __future__ import annotations

from contextlib import suppress

import live
import pytest
from archives import PACKERS, podman_export
from hypothesis import given, settings
from hypothesis import strategies as st

from llmux.criu_images._dump import read_dump
from llmux.criu_images.errors import ArchiveRefused, CriuImagesError, NotADump

pytestmark = pytest.mark.demand("archive", "damaged")
SUBJECT = "link_remap"


@pytest.fixture(scope="module", params=PACKERS)
def packed(request, tmp_path_factory):
    data = PACKERS[request.param](podman_export(live.IMAGES / SUBJECT))
    return tmp_path_factory.mktemp("archive") / request.param, data


@settings(deadline=None, max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True))
def test_cut_anywhere(packed, share):
    """Only zeros may be missing: those that fill up the tar's last record."""
    path, whole = packed
    cut = int(share * len(whole))
    path.write_bytes(whole[:cut])
    if whole[cut:].strip(b"\0"):
        with pytest.raises((ArchiveRefused, NotADump)):
            read_dump(path)
    else:
        with suppress(ArchiveRefused):
            assert read_dump(path) == live.dump_of(SUBJECT)


CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=100)
@given(changes=CHANGES)
def test_changed_bytes(packed, changes):
    path, whole = packed
    damaged = bytearray(whole)
    for share, byte in changes:
        damaged[int(share * len(whole))] = byte
    path.write_bytes(damaged)
    with suppress(CriuImagesError):
        read_dump(path)


@settings(deadline=None, max_examples=200)
@given(number=st.integers(0, 10_000), offset=st.integers(0, 511), byte=st.integers(0, 255))
def test_changed_headers(tmp_path_factory, number, offset, byte):
    """Bytes of a header, with its checksum made right again: sizes, names, types and links that lie."""
    whole = bytearray(podman_export(live.IMAGES / SUBJECT))
    headers = [at for at in range(0, len(whole), 512) if whole[at + 257 : at + 262] == b"ustar"]
    at = headers[number % len(headers)]
    whole[at + offset] = byte
    block = whole[at : at + 512]
    whole[at + 148 : at + 156] = b"%06o\0 " % sum(block[:148] + b" " * 8 + block[156:])
    path = tmp_path_factory.getbasetemp() / "changed.tar"
    path.write_bytes(whole)
    with suppress(CriuImagesError):
        read_dump(path)
