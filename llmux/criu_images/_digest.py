"""Content digests: whole, blind to holes, or of samples; and copying that digests on the way.

A digest's text names its algorithm, so that whoever compares can compute the same one:

- ``sha256:HEX`` is what sha256sum(1) prints;
- ``sha256-sparse:HEX`` skips blocks of 4096 zero bytes, so that a file of 400 MB with 100 KB of data costs 100 KB and its
  digest does not depend on which file system keeps its holes: SHA-256 over the size (8 bytes, little-endian), then each block that
  is not all zero, after its number (8 bytes, little-endian);
- ``sha256-sampled:HEX`` reads at most 1 MiB, 16 pieces spread evenly from the first byte to the last: SHA-256 over the size, then each piece.
  It finds another build or a damaged copy, not a chosen change. It is for files too big to read while a tree is frozen.
"""

from __future__ import annotations

import enum
import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol, TypeAlias, assert_never

_CHUNK = 1 << 20
_BLOCK = 4096
_ZERO_BLOCK = bytes(_BLOCK)
_ZERO_CHUNK = bytes(_CHUNK)
_PIECES = 16
_MOST_SEGMENTS = 1000
_PIECE = _CHUNK // _PIECES
_Advance: TypeAlias = Callable[[int], None]
"""Takes the offset up to which a file is done."""


def _unheard(_: int) -> None: ...


class Algorithm(enum.Enum):
    """How a digest is computed; the value starts its text."""

    WHOLE = "sha256"
    SPARSE = "sha256-sparse"
    SAMPLED = "sha256-sampled"


class ShortReadError(Exception):
    """A file ended before the length that was asked for: somebody cut it meanwhile."""


def algorithm_of(digest: str) -> Algorithm:
    """Return the algorithm that `digest`'s text names; raises ValueError."""
    return Algorithm(digest.partition(":")[0])


def choose_algorithm(status: os.stat_result) -> Algorithm:
    """Pick SPARSE for a file with holes, WHOLE for any other."""
    return Algorithm.SPARSE if status.st_blocks * 512 < status.st_size else Algorithm.WHOLE


def digest_file(fd: int, size: int, algorithm: Algorithm, advance: _Advance = _unheard) -> str:
    """Digest the first `size` bytes of `fd`; `advance` hears how far it is, at least every MiB of data. Raises ShortReadError, OSError."""
    if algorithm is Algorithm.SAMPLED:
        return _digest_samples(fd, size)
    hasher = _hasher(algorithm, size)
    for offset, data in _chunks(fd, size):
        hasher.feed(offset, data)
        advance(offset + len(data))
    return f"{algorithm.value}:{hasher.finish()}"


def bytes_read(size: int, algorithm: Algorithm) -> int:
    """Return how many bytes of a file of `size` without holes are read for its digest."""
    return min(size, _CHUNK) if algorithm is Algorithm.SAMPLED else size


Segments: TypeAlias = tuple[tuple[int, int], ...]
"""Where a file has data, from and up to an offset: holes are all else."""


def copy_file(  # noqa: PLR0913 - two of them are seldom given
    source: int,
    target: int,
    size: int,
    algorithm: Algorithm,
    advance: _Advance = _unheard,
    *,
    segments: Segments | None = None,
) -> str:
    """Copy the first `size` bytes of `source` to the empty file `target`, keep holes, and return the digest of what was copied.

    `segments` says what of `source` is data where its file system may not know: a copy of a copy may have lost its holes.
    Data passes through this process rather than copy_file_range(2) because each byte is digested anyway.
    Raises ShortReadError, OSError.
    """
    hasher = _hasher(algorithm, size)
    for offset, data in _chunks(source, size, segments):
        _write_all(target, data, offset)
        hasher.feed(offset, data)
        advance(offset + len(data))
    os.ftruncate(target, size)
    return f"{algorithm.value}:{hasher.finish()}"


class _Hasher(Protocol):
    def feed(self, offset: int, data: bytes) -> None: ...
    def finish(self) -> str: ...


def _hasher(algorithm: Algorithm, size: int) -> _Hasher:
    match algorithm:
        case Algorithm.WHOLE:
            return _WholeHasher(size)
        case Algorithm.SPARSE:
            return _SparseHasher(size)
        case Algorithm.SAMPLED:
            raise ValueError("a copy is digested whole")
        case _:
            assert_never(algorithm)


class _WholeHasher:
    def __init__(self, size: int) -> None:
        self._hash = hashlib.sha256()
        self._size = size
        self._position = 0

    def feed(self, offset: int, data: bytes) -> None:
        self._zeros_up_to(offset)
        self._hash.update(data)
        self._position += len(data)

    def finish(self) -> str:
        self._zeros_up_to(self._size)
        return self._hash.hexdigest()

    def _zeros_up_to(self, offset: int) -> None:
        while (gap := offset - self._position) > 0:
            step = min(gap, _CHUNK)
            self._hash.update(_ZERO_CHUNK[:step])
            self._position += step


class _SparseHasher:
    def __init__(self, size: int) -> None:
        self._hash = hashlib.sha256(size.to_bytes(8, "little"))

    def feed(self, offset: int, data: bytes) -> None:
        for start in range(0, len(data), _BLOCK):
            block = data[start : start + _BLOCK]
            if block != _ZERO_BLOCK[: len(block)]:
                self._hash.update(((offset + start) // _BLOCK).to_bytes(8, "little") + block)

    def finish(self) -> str:
        return self._hash.hexdigest()


def _digest_samples(fd: int, size: int) -> str:
    hash_ = hashlib.sha256(size.to_bytes(8, "little"))
    if size <= _CHUNK:
        hash_.update(_read_exactly(fd, size, 0))
    else:
        for number in range(_PIECES):
            offset = (size - _PIECE) * number // (_PIECES - 1)
            hash_.update(_read_exactly(fd, _PIECE, offset))
    return f"{Algorithm.SAMPLED.value}:{hash_.hexdigest()}"


def _chunks(fd: int, size: int, segments: Segments | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield the data of a file, holes left out, in pieces that start on a block's border."""
    for start, end in find_segments(fd, size) if segments is None else segments:
        for offset in range(start, end, _CHUNK):
            yield offset, _read_exactly(fd, min(_CHUNK, end - offset), offset)


def few_segments(fd: int, size: int, algorithm: Algorithm) -> Segments | None:
    """Return where a file with holes has data; None of one without, or whose pieces are too many to write down. Raises OSError."""
    if algorithm is not Algorithm.SPARSE:
        return None
    found = tuple(islice(find_segments(fd, size), _MOST_SEGMENTS + 1))
    return found if len(found) <= _MOST_SEGMENTS else None


def find_segments(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield where a file has data, on borders of blocks; raises OSError."""
    end = 0
    while end < size:
        try:
            data = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        # Only a file system with blocks under 4096 bytes has segments off these borders.
        start = max(end, data // _BLOCK * _BLOCK)
        end = min(size, -(-os.lseek(fd, data, os.SEEK_HOLE) // _BLOCK) * _BLOCK)
        if start < end:
            yield start, end


def _read_exactly(fd: int, length: int, offset: int) -> bytes:
    data = os.pread(fd, length, offset)
    while len(data) < length:
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            raise ShortReadError
        data += more
    return data


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written
