"""Where images come from: a directory, or an archive that was read once (`_archive.py`).

A directory is opened once; every image is opened by name below its descriptor, never through a symbolic link, and only if it is
a regular file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import Protocol

from llmux.criu_images._entry import Entry
from llmux.criu_images._formats import ImageFormat
from llmux.criu_images._paths import RawPath
from llmux.criu_images._records import ParentImages
from llmux.criu_images._wire import read_entries
from llmux.criu_images.errors import DamagedImage, NotADump, UnreadableImage

MAX_PARENTS = 1000
"""Earlier dumps that are followed; each takes a dump of its own to make."""
HEAD = 8
"""Bytes that `Source.head` reads: two magic numbers."""


def open_source(path: str) -> Source:
    """Open a directory of images or an archive; raises NotADump, UnreadableImage and ArchiveRefused."""
    if not os.path.isfile(path):  # noqa: PTH113 - whatever it is by then, each refuses what it is not for
        return DirectorySource(path)
    from llmux.criu_images._archive import ArchiveSource  # noqa: PLC0415 - most dumps are directories

    return ArchiveSource(path)


class Source(Protocol):
    """A set of images."""

    label: str
    """What people call it: its path."""

    def names(self) -> Sequence[str]:
        """List the names of all files, sorted."""
        ...

    def entries(self, name: str, image_format: ImageFormat) -> Iterator[Entry] | None:
        """Return an image's entries; None where it is missing."""
        ...

    def size(self, name: str) -> int:
        """Tell the bytes in an image that is there."""
        ...

    def head(self, name: str) -> bytes:
        """Read the first bytes of an image, where its magic numbers are."""
        ...

    def parents(self) -> tuple[ParentImages, ...]:
        """Follow the `parent` link to earlier dumps."""
        ...

    def close(self) -> None: ...


class Images:
    """The images of one dump, by what a dump has to have."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def numbered(self, prefix: str, image_format: ImageFormat) -> Iterator[tuple[int, Entry]]:
        """Yield the entries of all images named `PREFIX-N.img`, in the order of their names, with N."""
        pattern = re.compile(rf"{prefix}-([0-9]{{1,20}})\.img")
        for name in self.source.names():
            if found := pattern.fullmatch(name):
                for entry in self.maybe(name, image_format):
                    yield int(found[1]), entry

    def maybe(self, name: str, image_format: ImageFormat) -> Iterator[Entry]:
        """Yield an image's entries; none where the image is missing, as CRIU leaves out some that would be empty."""
        return self.source.entries(name, image_format) or iter(())

    def all(self, name: str, image_format: ImageFormat) -> Iterator[Entry]:
        """Yield the entries of an image that every dump has.

        Raises NotADump where it is missing.
        """
        entries = self.source.entries(name, image_format)
        if entries is None:
            raise NotADump(self.source.label, f"it has no {name}")
        return entries

    def maybe_one(self, name: str, image_format: ImageFormat) -> Entry | None:
        """Return the first entry of an image, or None where it is missing or empty."""
        return next(self.maybe(name, image_format), None)

    def one(self, name: str, image_format: ImageFormat) -> Entry:
        """Return the first entry of an image that every dump has.

        Raises NotADump where the image is missing and DamagedImage where it is empty.
        """
        for entry in self.all(name, image_format):
            return entry
        raise DamagedImage(name, "it has no entry")


class DirectorySource:
    """A directory of images, open for reading."""

    def __init__(self, directory: str) -> None:
        self.label = directory
        try:
            self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise NotADump(directory, getattr(error, "strerror", None) or str(error)) from error
        try:
            self._names = sorted(os.listdir(self._fd))  # noqa: PTH208 - pathlib can't list a descriptor
        except OSError as error:
            self.close()
            raise NotADump(directory, error.strerror or str(error)) from error
        self._listed = frozenset(self._names)

    def close(self) -> None:
        os.close(self._fd)

    def names(self) -> Sequence[str]:
        return self._names

    def entries(self, name: str, image_format: ImageFormat) -> Iterator[Entry] | None:
        fd = self._open(name)
        if fd is None and name in self._listed:
            raise UnreadableImage(f"{self.label}/{name}", "it was removed while the dump was read")
        return None if fd is None else self._read(fd, name, image_format)

    def _open(self, name: str) -> int | None:
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(name, error) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise UnreadableImage(f"{self.label}/{name}", "it is not a regular file")
        return fd

    def _read(self, fd: int, name: str, image_format: ImageFormat) -> Iterator[Entry]:
        with os.fdopen(fd, "rb") as stream:
            try:
                yield from read_entries(stream, os.fstat(fd).st_size, name, image_format)
            except OSError as error:
                raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: OSError) -> UnreadableImage:
        return UnreadableImage(f"{self.label}/{name}", error.strerror or str(error))

    def size(self, name: str) -> int:
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_size
        except OSError as error:
            raise self._unreadable(name, error) from error

    def head(self, name: str) -> bytes:
        fd = self._open(name)
        if fd is None:
            return b""
        with os.fdopen(fd, "rb") as stream:
            try:
                return stream.read(HEAD)
            except OSError as error:
                raise self._unreadable(name, error) from error

    def parents(self) -> tuple[ParentImages, ...]:
        return tuple(_parents(self._fd, os.fsencode(self.label)))


def _parents(start: int, directory: bytes) -> Iterator[ParentImages]:
    """Follow `parent` as CRIU does (`open_parent`): the kernel resolves each link, whatever it names."""
    fd = os.dup(start)
    seen = {_identity(fd)}
    try:
        for _ in range(MAX_PARENTS):
            link = _parent_link(fd)
            if link is None:
                return
            directory = os.path.join(directory, link)  # noqa: PTH118 - bytes
            found, problem = _open_parent(fd)
            if found is not None:
                os.close(fd)
                fd = found
                problem = "it leads back to a dump that it is a parent of" if _identity(fd) in seen else None
                seen.add(_identity(fd))
            yield ParentImages(RawPath(link), RawPath(os.path.normpath(directory)), problem)
            if problem is not None:
                return
    finally:
        os.close(fd)


def _parent_link(fd: int) -> bytes | None:
    try:
        return os.readlink(b"parent", dir_fd=fd)
    except FileNotFoundError:
        return None
    except OSError:  # No link but a directory by itself, which CRIU takes as well.
        return b"parent"


def _open_parent(fd: int) -> tuple[int | None, str | None]:
    try:
        return os.open("parent", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd), None
    except OSError as error:
        return None, error.strerror or str(error)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
