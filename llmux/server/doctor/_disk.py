"""A directory as a place for checkpoints: whose it is, what it lies on, and how fast that writes and reads."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from pathlib import Path

from llmux.server.doctor._facts import Directory, Speed

_CHUNK = 8 << 20
_ESCAPED = re.compile(r"\\([0-7]{3})")
_LEAST = 16 << 20
"""Bytes below which a measurement says nothing."""


def look_at(role: str, path: Path, speed_bytes: int = 0) -> Directory:
    """Return what is known of `path`, and measure it with up to `speed_bytes`; leaves nothing behind there."""
    nearest = next(each for each in (path, *path.parents) if each.exists())
    there = nearest == path
    try:
        found, room = nearest.stat(), os.statvfs(nearest)
    except OSError as error:
        return Directory(role, str(path), there, str(nearest), problem=error.strerror or str(error))
    free = room.f_bavail * room.f_frsize
    problem, speed = _tried(nearest, found, min(speed_bytes, free // 10))
    return Directory(
        role=role,
        path=str(path),
        there=there,
        nearest=str(nearest),
        owner=found.st_uid,
        mode=stat.S_IMODE(found.st_mode),
        file_system=file_system_of(nearest),
        free=free,
        problem=problem,
        speed=speed,
    )


def _tried(directory: Path, found: os.stat_result, amount: int) -> tuple[str, Speed | None]:
    """Write a file that has no name, where the file system allows that, and read it back; return why not, and how fast."""
    if not stat.S_ISDIR(found.st_mode):
        return f"{directory} is no directory", None
    try:
        with tempfile.TemporaryFile(dir=directory, prefix=".llmux-doctor-") as file:
            return "", _measured(file.fileno(), amount) if amount >= _LEAST else None
    except OSError as error:
        return error.strerror or str(error), None


def _measured(file: int, amount: int) -> Speed:
    chunk = memoryview(os.urandom(_CHUNK))  # nothing that a file system could compress
    began, written = time.monotonic(), 0
    while written < amount:
        written += os.write(file, chunk)
    os.fsync(file)
    write = time.monotonic() - began
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(file, 0, os.SEEK_SET)
    began = time.monotonic()
    while os.readv(file, [bytearray(_CHUNK)]):
        pass
    read = time.monotonic() - began
    return Speed(written, written / max(write, 1e-6), written / max(read, 1e-6))


def file_system_of(path: Path, table: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the type of the file system that `path` lies on: that of the last mount nearest above it (man 5 proc_pid_mountinfo)."""
    try:
        lines = table.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        lines = []
    nearest, kind = -1, "an unknown file system"
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields.split()[4]))
        if path.resolve().is_relative_to(point) and len(point.parts) >= nearest:
            nearest, kind = len(point.parts), rest.split()[0]
    return kind
