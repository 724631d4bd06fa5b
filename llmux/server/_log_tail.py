"""The end of an engine's log, for errors and for whoever reads along: few bytes are read however long the log has grown."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_BYTES = 4096
_MOST = 1 << 20
"""Bytes that are read at a time for somebody who reads along."""


def last_lines(path: Path, since: int = 0, count: int = 4) -> str:
    """Return the last `count` lines written after offset `since`, joined by " | "; empty where there are none."""
    try:
        with _opened(path) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(since if since <= end else 0, end - _BYTES))
            text = file.read(_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:])


def size_of(path: Path) -> int:
    """Return how long the log is now; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


class LogFile:
    """A log that somebody reads along, whatever becomes of the file: it may be cut or replaced. Blocks: call it in a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self._inode = 0

    def tail(self, lines: int) -> bytes:
        """Return so many lines of its end, a mebibyte at most. Raises OSError."""
        with _opened(self.path) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - _MOST))
            text = file.read(_MOST)
            self._read, self._inode = file.tell(), os.fstat(file.fileno()).st_ino
        whole = text if end <= _MOST else text.partition(b"\n")[2]
        kept = whole.splitlines(keepends=True)
        return b"".join(kept[max(0, len(kept) - lines) :])

    def more(self) -> bytes:
        """Return what has been written since, a mebibyte at most at a time; nothing where it is not there now."""
        try:
            with _opened(self.path) as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._inode or found.st_size < self._read:
                    self._read, self._inode = 0, found.st_ino
                file.seek(self._read)
                text = file.read(_MOST)
                self._read += len(text)
                return text
        except OSError:
            self._read, self._inode = (
                0,
                0,
            )  # the next file of this name is another, though it may have its inode
            return b""


def _opened(path: Path) -> BinaryIO:
    """Open a log to read: no link to a file that llmux alone may read, whoever may write to the directory. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(file)
        raise OSError(errno.EINVAL, "it is no regular file with this one name", str(path))
    return os.fdopen(file, "rb")
