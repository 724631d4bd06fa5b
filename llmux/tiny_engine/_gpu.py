"""Weights and the count of steps on a GPU, in a form that shows each byte that was lost there.

The network reads its weights from the GPU before each step and compares their checksum. The count is a record on the GPU, with a running digest of
all that was computed and the weights' checksum; it is compared with the worker's own before each step, and written anew after it. What is asked
for beyond the weights (`--device-bytes`) is ballast of random bytes that stand in the worker's memory, a piece of which is compared with each step.
So memory that came back from a suspension or a checkpoint with another content is named before it makes an answer.
"""

import ctypes
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import Final, NamedTuple

from llmux.tiny_engine._cuda import Driver, DriverError, Gpu
from llmux.tiny_engine._device import Facts
from llmux.tiny_engine.errors import DeviceCallError, DeviceDamagedError, DeviceFullError, DeviceMissingError

_RECORD: Final = struct.Struct("<8sQII")
_CHECKED: Final = struct.Struct("<I")
_MAGIC: Final = b"llmux-it"
_RECORD_BYTES: Final = _RECORD.size + _CHECKED.size
_PIECE: Final = 1 << 20
_STRIDE: Final = 4099
"""The ballast's pieces are windows into twice as many random bytes, each a little further on: no two neighbours are the same."""


class Count(NamedTuple):
    """What is on the GPU beside the weights: steps made, a digest of all their results, the weights' checksum."""

    steps: int = 0
    digest: int = 0
    weights: int = 0

    def encoded(self) -> bytes:
        record = _RECORD.pack(_MAGIC, *self)
        return record + _CHECKED.pack(zlib.crc32(record))


class CudaDevice:
    """A GPU by the driver API. Raises DeviceMissingError where there is none, DeviceError later."""

    def __init__(self, ballast: int = 0) -> None:
        """`ballast` is how many bytes there are to be beside the weights."""
        self._ballast = _Pieces(ballast)
        try:
            self._gpu = Gpu(Driver())
            self._address = self._gpu.allocate(_RECORD_BYTES)
        except DriverError as error:
            raise DeviceMissingError(str(error)) from error
        self._host = mmap.mmap(-1, mmap.PAGESIZE)
        self._bytes = 0
        self._count = Count()
        self._write(self._count)

    def allocate(self, size: int) -> "DeviceMemory":
        memory = DeviceMemory(self._gpu, size, self._ballast, self)
        self._bytes = size + self._ballast.size
        return memory

    def freed(self) -> None:
        self._bytes = 0

    def count(self, result: bytes) -> None:
        self.check()
        steps, digest, weights = self._count
        self._write(Count(steps + 1, zlib.crc32(result, digest), weights))

    def note_weights(self, checksum: int) -> None:
        """Note the checksum of new weights."""
        self._write(self._count._replace(weights=checksum))

    def check_weights(self, checksum: int) -> None:
        if checksum != self._count.weights:
            raise DeviceDamagedError(
                f"the weights' checksum is {checksum:08x}, not {self._count.weights:08x}"
            )

    def check(self) -> None:
        with refusals():
            self._gpu.read(address_of(self._host), self._address, _RECORD_BYTES)
        if (found := self._host[:_RECORD_BYTES]) != (wanted := self._count.encoded()):
            raise DeviceDamagedError(f"the count is {found.hex()}, not {wanted.hex()}")

    def _write(self, count: Count) -> None:
        self._count = count
        self._host[:_RECORD_BYTES] = count.encoded()
        with refusals():
            self._gpu.write(self._address, address_of(self._host), _RECORD_BYTES)

    def facts(self) -> Facts:
        with refusals():
            name, uuid, (free, total) = self._gpu.name(), self._gpu.uuid(), self._gpu.memory()
        return {
            "device": "cuda",
            "name": name,
            "uuid": uuid,
            "bytes": self._bytes,
            "free": free,
            "total": total,
            "steps": self._count.steps,
            "digest": f"{self._count.digest:08x}",
            "weights": f"{self._count.weights:08x}",
        }


class DeviceMemory:
    """Weights, and behind them the ballast, in one allocation on a GPU."""

    def __init__(self, gpu: Gpu, size: int, ballast: "_Pieces", device: CudaDevice) -> None:
        self._gpu = gpu
        self._size = size
        self._device = device
        self._pieces = ballast
        self._turn = 0
        try:
            self._address = gpu.allocate(size + ballast.size)
        except DriverError as error:
            raise DeviceFullError(size + ballast.size, str(error)) from error
        self._staging = mmap.mmap(-1, size)
        self._scratch = mmap.mmap(-1, _PIECE)

    def view(self) -> mmap.mmap:
        with refusals():
            self._gpu.read(address_of(self._staging), self._address, self._size)
        self._device.check_weights(zlib.crc32(self._staging))
        return self._staging

    def fill(self, file: BufferedReader) -> int:
        read = file.readinto(self._staging)
        with refusals():
            self._gpu.write(self._address, address_of(self._staging), self._size)
            for piece in self._pieces:
                self._gpu.write(self._address + self._size + piece.offset, piece.address, piece.size)
        self._device.note_weights(zlib.crc32(self._staging))
        return read

    def aside(self) -> mmap.mmap:
        copy = mmap.mmap(-1, self._size + self._pieces.size)
        with refusals():
            self._gpu.read(address_of(copy), self._address, len(copy))
        return copy

    def put_back(self, copy: mmap.mmap) -> None:
        with refusals():
            self._gpu.write(self._address, address_of(copy), len(copy))

    def check(self, *, thorough: bool) -> None:
        self.view()
        pieces = list(self._pieces)
        if not pieces:
            return
        self._turn = (self._turn + 1) % len(pieces)
        for piece in pieces if thorough else pieces[self._turn : self._turn + 1]:
            self._check_piece(piece)

    def _check_piece(self, piece: "_Piece") -> None:
        with refusals():
            self._gpu.read(address_of(self._scratch), self._address + self._size + piece.offset, piece.size)
        found, wanted = self._scratch[: piece.size], piece.content()
        if found != wanted:
            first = next(place for place in range(piece.size) if found[place] != wanted[place])
            raise DeviceDamagedError(
                f"byte {piece.offset + first} of the ballast is not what was written there"
            )

    def close(self) -> None:
        self._staging.close()
        self._scratch.close()
        self._device.freed()
        with refusals():
            self._gpu.free(self._address)


class _Piece(NamedTuple):
    """A piece of the ballast, and where its content begins among the random bytes."""

    offset: int
    size: int
    random: bytes
    start: int

    @property
    def address(self) -> int:
        return (ctypes.cast(ctypes.c_char_p(self.random), ctypes.c_void_p).value or 0) + self.start

    def content(self) -> bytes:
        return self.random[self.start : self.start + self.size]


class _Pieces:
    """The ballast, piece by piece; its content outlives a copy that is kept aside."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._random = os.urandom(2 * _PIECE if size else 0)

    def __iter__(self) -> Iterator[_Piece]:
        for offset in range(0, self.size, _PIECE):
            start = offset // _PIECE * _STRIDE % _PIECE
            yield _Piece(offset, min(_PIECE, self.size - offset), self._random, start)


def address_of(memory: mmap.mmap) -> int:
    """Return where a mapping lies; nothing keeps it from being closed."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


@contextmanager
def refusals() -> Iterator[None]:
    """Translate what the driver refuses."""
    try:
        yield
    except DriverError as error:
        raise DeviceCallError(str(error)) from error
