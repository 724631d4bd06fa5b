"""Digests name their algorithm, do not depend on holes, and a copy keeps holes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from llmux.criu_images._digest import (
    Algorithm,
    ShortReadError,
    algorithm_of,
    choose_algorithm,
    copy_file,
    digest_file,
    find_segments,
)

MIB = 1 << 20


@pytest.fixture
def sparse(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.seek(3 * MIB + 17)
        file.write(b"data")
        file.truncate(9 * MIB + 5)
    return path


def opened(path: Path) -> int:
    return os.open(path, os.O_RDWR)


def digest(path: Path, algorithm: Algorithm, size: int | None = None) -> str:
    fd = opened(path)
    try:
        return digest_file(fd, path.stat().st_size if size is None else size, algorithm)
    finally:
        os.close(fd)


def test_whole_is_what_sha256sum_prints(sparse):
    expected = hashlib.sha256(sparse.read_bytes()).hexdigest()
    assert digest(sparse, Algorithm.WHOLE) == f"sha256:{expected}"


@pytest.mark.parametrize("algorithm", Algorithm)
def test_holes_do_not_matter_and_content_does(sparse, tmp_path, algorithm):
    full = tmp_path / "full"
    full.write_bytes(sparse.read_bytes())
    assert digest(full, algorithm) == digest(sparse, algorithm)
    assert algorithm_of(digest(full, algorithm)) is algorithm
    with full.open("r+b") as file:
        file.write(b"x")
    assert digest(full, algorithm) != digest(sparse, algorithm)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_length_matters(tmp_path, algorithm):
    path = tmp_path / "zeros"
    path.write_bytes(bytes(5000))
    assert digest(path, algorithm) != digest(path, algorithm, 4999)


@pytest.mark.parametrize("algorithm", [Algorithm.WHOLE, Algorithm.SPARSE])
def test_a_copy_keeps_holes_and_gives_the_sources_digest(sparse, tmp_path, algorithm):
    copy = tmp_path / "copy"
    copy.touch()
    source, target = opened(sparse), opened(copy)
    try:
        copied = copy_file(source, target, sparse.stat().st_size, algorithm)
    finally:
        os.close(source)
        os.close(target)
    assert copied == digest(sparse, algorithm) == digest(copy, algorithm)
    assert copy.read_bytes() == sparse.read_bytes()
    assert copy.stat().st_blocks * 512 < MIB


def test_holes_are_where_the_caller_says(tmp_path):
    full, copy = tmp_path / "full", tmp_path / "copy"
    full.write_bytes(bytes(MIB) + b"x" * 4096)
    copy.touch()
    source, target = opened(full), opened(copy)
    try:
        assert list(find_segments(source, MIB + 4096)) == [(0, MIB + 4096)]
        copied = copy_file(source, target, MIB + 4096, Algorithm.SPARSE, segments=((MIB, MIB + 4096),))
        assert list(find_segments(target, MIB + 4096)) == [(MIB, MIB + 4096)]
    finally:
        os.close(source)
        os.close(target)
    assert copied == digest(full, Algorithm.SPARSE) == digest(copy, Algorithm.SPARSE)


def test_a_prefix_can_be_copied(tmp_path):
    log, copy = tmp_path / "log", tmp_path / "copy"
    log.write_bytes(b"recorded" + b"grown")
    copy.touch()
    source, target = opened(log), opened(copy)
    try:
        copy_file(source, target, 8, Algorithm.WHOLE)
    finally:
        os.close(source)
        os.close(target)
    assert copy.read_bytes() == b"recorded"


@pytest.mark.parametrize("algorithm", [Algorithm.WHOLE, Algorithm.SAMPLED])
def test_a_file_that_is_too_short_is_an_error(tmp_path, algorithm):
    path = tmp_path / "short"
    path.write_bytes(b"abc")
    with pytest.raises(ShortReadError):
        digest(path, algorithm, 4)


def test_holes_choose_the_algorithm(sparse, tmp_path):
    full = tmp_path / "full"
    full.write_bytes(b"x" * 4096)
    assert choose_algorithm(sparse.stat()) is Algorithm.SPARSE
    assert choose_algorithm(full.stat()) is Algorithm.WHOLE
