"""The bytes of an archive, unpacked on the way: read forwards only, never as a whole."""

from __future__ import annotations

import gzip
import os
import stat
import sys
import zlib
from importlib import import_module
from typing import BinaryIO, Protocol

from llmux.criu_images.errors import ArchiveRefused, DependencyMissing, NotADump, UnreadableImage

MAX_UNPACKED = 1 << 42
"""Bytes in an archive once unpacked: more than a machine has memory, far less than a few packed bytes can claim."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_CHUNK = 1 << 20


class Readable(Protocol):
    """What unpacks: no more than was asked for, and less only at the end."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> object: ...


class ByteStream:
    """An archive's bytes, read once from the first to the last."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.position = 0
        self._file = _open(path)
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            self._errors: tuple[type[Exception], ...] = (OSError, EOFError)
            self._unpacked = self._unpack(self._file.read(4))
        except BaseException:
            self._file.close()
            raise

    def _unpack(self, head: bytes) -> Readable | None:
        """Choose what unpacks by the first bytes; None for an archive that is not packed."""
        self._file.seek(0)
        if head.startswith(_GZIP):
            self._errors = (*self._errors, zlib.error)
            return gzip.GzipFile(fileobj=self._file)
        return self._unpack_zstd() if head == _ZSTD else None

    def _unpack_zstd(self) -> Readable:
        for name in ("compression.zstd", "backports.zstd"):
            try:
                module = import_module(name)
            except ModuleNotFoundError:
                continue
            self._errors = (*self._errors, module.ZstdError)
            unpacked: Readable = module.ZstdFile(self._file)
            return unpacked
        raise DependencyMissing(
            "backports.zstd",
            sys.executable,
            hint="Install `llmux[zstd]`, or unpack the archive with `zstd -d` first.",
        )

    def close(self) -> None:
        if self._unpacked is not None:
            self._unpacked.close()
        self._file.close()

    def refused(self, why: str, member: str | None = None) -> ArchiveRefused:
        return ArchiveRefused(self.path, why, member)

    def read(self, size: int) -> bytes:
        """Read so many bytes, fewer only at the end."""
        try:
            data = (self._unpacked or self._file).read(size)
        except self._errors as error:
            raise self.refused(str(error) or "it is cut short") from error
        self.position += len(data)
        if self.position > MAX_UNPACKED:
            raise self.refused(f"it has more than {MAX_UNPACKED} bytes")
        return data

    def exactly(self, size: int, member: str) -> bytes:
        self._require(size, member)
        data = self.read(size)
        if len(data) < size:
            raise self.refused("it is cut short", member)
        return data

    def _require(self, size: int, member: str) -> None:
        """Compare what a member claims with what there is or can be, before room is made for it."""
        if self._unpacked is None and self.position + size > self._size:
            raise self.refused("it is cut short", member)
        if self.position + size > MAX_UNPACKED:
            raise self.refused(f"a size of {size} bytes", member)

    def skip(self, size: int, member: str) -> None:
        self._require(size, member)
        if self._unpacked is None:
            self._file.seek(size, os.SEEK_CUR)
            self.position += size
            return
        while size:
            size -= len(self.exactly(min(size, _CHUNK), member))

    def drain(self) -> None:
        """Read what is left of a packed archive: its checksum is at the end."""
        if self._unpacked is not None:
            while self.read(_CHUNK):
                pass


def _open(path: str) -> BinaryIO:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UnreadableImage(path, error.strerror or str(error)) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotADump(path, "it is neither a directory nor a file")
    return os.fdopen(fd, "rb")
