"""What lies in a checkpoint's directory: opened so that nothing leads elsewhere or waits, and noticed when it changes meanwhile."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TypeAlias

from llmux.criu_images.manifest import SIDE_DIRECTORY

Stamp: TypeAlias = tuple[int, int, int, int]
"""Inode number, size, times of modification and of change: the last is the kernel's alone to set."""

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.img")


@contextmanager
def open_directory(path: str | os.PathLike[str]) -> Iterator[int]:
    """Open the directory that the caller names, through links if it likes; raises OSError."""
    fd = os.open(path, _DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def open_side_directory(directory: int) -> Iterator[int]:
    """Open `llmux/` below an open directory, which is no link; raises OSError."""
    fd = os.open(SIDE_DIRECTORY, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def open_file(name: str, directory: int) -> Iterator[int]:
    """Open a regular file below an open directory: no link, nothing whose opening or reading waits. Raises OSError, its text fit for people."""
    try:
        fd = os.open(name, _FILE, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        yield fd
    finally:
        os.close(fd)


def image_names(directory: int) -> list[str]:
    """Return the names of CRIU's images in an open directory, sorted; raises OSError."""
    return sorted(name for name in os.listdir(directory) if _IMAGE_NAME.fullmatch(name))


def read_stamps(directory: int) -> Mapping[str, Stamp]:
    """Return how the images in an open directory are now; raises OSError."""
    stamps = {}
    for name in image_names(directory):
        with suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            stamps[name] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return stamps


def find_changed(before: Mapping[str, Stamp], directory: int) -> str | None:
    """Return the name of an image that is not any more as it was, if there is one; raises OSError."""
    now = read_stamps(directory)
    return next((name for name in before if now.get(name) != before[name]), None)
