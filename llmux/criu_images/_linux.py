"""The system calls that Python 3.11 has no function for, and nothing else."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)

_AT_EMPTY_PATH = 0x1000
_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_BTIME = 0x800
_STATX_MNT_ID = 0x1000
# struct statx of linux/stat.h: stx_mask, stx_btime and stx_mnt_id, by their offsets.
_MASK_AT, _BTIME_AT, _MOUNT_AT, _STATX_SIZE = 0, 80, 144, 256

_MS_BIND = 4096
_MNT_DETACH = 2


def birth_and_mount(fd: int) -> tuple[int | None, int | None]:
    """Return the birth time in nanoseconds and the mount id (as in mountinfo) of what `fd` refers to.

    Either is None where the file system or the kernel (before 5.8, for the mount) does not tell. Raises OSError.
    """
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    flags = _AT_EMPTY_PATH | _AT_SYMLINK_NOFOLLOW
    if _LIBC.statx(fd, b"", flags, _STATX_BTIME | _STATX_MNT_ID, buffer) != 0:
        raise _last_error()
    (mask,) = struct.unpack_from("=I", buffer, _MASK_AT)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _BTIME_AT)
    (mount,) = struct.unpack_from("=Q", buffer, _MOUNT_AT)
    birth = seconds * 10**9 + nanoseconds if mask & _STATX_BTIME else None
    return birth, mount if mask & _STATX_MNT_ID else None


def bind_mount(source_fd: int, target_fd: int) -> None:
    """Mount what `source_fd` refers to over what `target_fd` refers to; raises OSError."""
    source, target = (f"/proc/self/fd/{fd}".encode() for fd in (source_fd, target_fd))
    if _LIBC.mount(source, target, None, ctypes.c_ulong(_MS_BIND), None) != 0:
        raise _last_error()


def mount_memory(directory: Path) -> None:
    """Mount an empty tmpfs for root alone on `directory`; raises OSError."""
    if _LIBC.mount(b"tmpfs", os.fsencode(directory), b"tmpfs", ctypes.c_ulong(0), b"mode=0700") != 0:
        raise _last_error()


def unmount(target: int | Path) -> None:
    """Take the topmost mount off a path or what a descriptor refers to, at once for new users (MNT_DETACH); raises OSError."""
    path = f"/proc/self/fd/{target}".encode() if isinstance(target, int) else os.fsencode(target)
    if _LIBC.umount2(path, _MNT_DETACH) != 0:
        raise _last_error()


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
