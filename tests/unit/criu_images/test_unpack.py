from __future__ import annotations

import os
import sys
from contextlib import closing

import pytest

from llmux.criu_images import _unpack
from llmux.criu_images._unpack import ByteStream
from llmux.criu_images.errors import ArchiveRefused, DependencyMissing, ExitCode, NotADump, UnreadableImage

from .archives import PACKERS

pytestmark = pytest.mark.demand("archive")
DATA = bytes(range(256)) * 100


@pytest.fixture(params=PACKERS)
def packed(request, tmp_path):
    path = tmp_path / "packed"
    path.write_bytes(PACKERS[request.param](DATA))
    return path


def test_reads_and_skips_alike(packed):
    with closing(ByteStream(str(packed))) as stream:
        assert stream.read(10) == DATA[:10]
        stream.skip(500, "m")
        assert (stream.position, stream.exactly(10, "m")) == (510, DATA[510:520])
        stream.skip(len(DATA) - 520, "m")
        assert stream.read(10) == b""


def test_an_end_that_comes_too_soon_names_the_member(packed):
    for act in (ByteStream.exactly, ByteStream.skip):
        with (
            closing(ByteStream(str(packed))) as stream,
            pytest.raises(ArchiveRefused, match="member m: it is cut short"),
        ):
            act(stream, len(DATA) + 1, "m")


@pytest.mark.parametrize("packer", ["gzip", "zstd"])
def test_cut_and_damaged_packing(packer, tmp_path):
    path = tmp_path / "packed"
    whole = PACKERS[packer](DATA)
    for data in (whole[:-1], whole[:8], whole[:20] + b"\xff\xff\xff\xff" + whole[24:]):
        path.write_bytes(data)
        with (
            closing(ByteStream(str(path))) as stream,
            pytest.raises(ArchiveRefused, match=f"archive {path}: "),
        ):
            stream.drain()


@pytest.mark.parametrize("packer", ["gzip", "zstd"])
def test_a_bomb_is_unpacked_bit_by_bit_and_only_so_far(packer, tmp_path, monkeypatch):
    path = tmp_path / "bomb"
    path.write_bytes(PACKERS[packer](bytes(5 << 20)))
    monkeypatch.setattr(_unpack, "MAX_UNPACKED", 3 << 20)
    with (
        closing(ByteStream(str(path))) as stream,
        pytest.raises(ArchiveRefused, match="more than 3145728 bytes"),
    ):
        stream.drain()
    with closing(ByteStream(str(path))) as stream, pytest.raises(ArchiveRefused, match="member m: a size of"):
        stream.skip(4 << 20, "m")


def test_without_a_package_for_zstd_the_error_names_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "packed"
    path.write_bytes(PACKERS["zstd"](DATA))
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DependencyMissing, match=r"Install `llmux\[zstd\]`") as caught:
        ByteStream(str(path))
    assert caught.value.exit_code is ExitCode.WRONG_USE


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotADump, match="neither a directory nor a file"):
        ByteStream(str(tmp_path / "fifo"))
    with pytest.raises(UnreadableImage, match="No such file"):
        ByteStream(str(tmp_path / "nothing"))
