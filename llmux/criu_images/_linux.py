"""The system calls that Python 3.11 has no function for, and nothing else."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)

_AT_EMPTY_PATH = 0x1000
_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_BTIME = 0x800
_STATX_MNT_ID = 0x1000
# struct statx of linux/stat.h: stx_mask, stx_attributes, stx_btime and stx_mnt_id, by their offsets.
_MASK_AT, _ATTRIBUTES_AT, _BTIME_AT, _MOUNT_AT, _STATX_SIZE = 0, 8, 80, 144, 256

IMMUTABLE, APPEND_ONLY, NO_DUMP = 0x10, 0x20, 0x40
"""Inode flags of chattr(1): FS_*_FL of linux/fs.h, and STATX_ATTR_* with the same values."""
_KEPT_FLAGS = IMMUTABLE | APPEND_ONLY | NO_DUMP
_FS_IOC_GETFLAGS, _FS_IOC_SETFLAGS = 0x80086601, 0x40086602
_STATX_BASIC_STATS = 0x7FF
# stx_nlink, uid and gid skipped, stx_mode, padding, stx_ino, stx_size, stx_blocks
_LINKS_AT = 16
_BASIC = struct.Struct("=I8xH2xQQQ")

_CLONE_NEWNS = 0x20000
_MS_BIND = 4096
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_MNT_DETACH = 2


@dataclass(frozen=True, slots=True)
class Extended:
    """What statx(2) tells of an inode beyond stat(2); None where the file system or the kernel (before 5.8, for the mount) does not."""

    birth_ns: int | None
    mount: int | None
    """As in mountinfo."""
    flags: int
    """Those of `IMMUTABLE`, `APPEND_ONLY` and `NO_DUMP` that are set."""


def extended_stat(fd: int) -> Extended:
    """Ask statx(2) about what `fd` refers to, an O_PATH descriptor too; raises OSError."""
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    flags = _AT_EMPTY_PATH | _AT_SYMLINK_NOFOLLOW
    if _LIBC.statx(fd, b"", flags, _STATX_BTIME | _STATX_MNT_ID, buffer) != 0:
        raise _last_error()
    (mask,) = struct.unpack_from("=I", buffer, _MASK_AT)
    (attributes,) = struct.unpack_from("=Q", buffer, _ATTRIBUTES_AT)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _BTIME_AT)
    (mount,) = struct.unpack_from("=Q", buffer, _MOUNT_AT)
    return Extended(
        birth_ns=seconds * 10**9 + nanoseconds if mask & _STATX_BTIME else None,
        mount=mount if mask & _STATX_MNT_ID else None,
        flags=attributes & _KEPT_FLAGS,
    )


def change_flags(fd: int, *, add: int = 0, remove: int = 0) -> None:
    """Change the inode flags of the open file or directory `fd` (FS_IOC_SETFLAGS of ioctl_iflags(2)); raises OSError."""
    (now,) = struct.unpack("=I4x", fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(8)))
    fcntl.ioctl(fd, _FS_IOC_SETFLAGS, struct.pack("=I4x", now & ~remove | add))


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What one statx(2) tells of a directory's entry."""

    mode: int
    links: int
    inode: int
    data: int
    """Bytes that are stored: holes cost nothing."""
    birth_ns: int
    """0 where the file system keeps none."""
    mount: int


def glimpse(directory: int, name: bytes) -> Glimpse:
    """Look at an entry of an open directory, its links not followed; at the directory itself by an empty name. Raises OSError."""
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    flags = _AT_EMPTY_PATH | _AT_SYMLINK_NOFOLLOW
    asked = _STATX_BASIC_STATS | _STATX_BTIME | _STATX_MNT_ID
    if _LIBC.statx(directory, name, flags, asked, buffer) != 0:
        raise _last_error()
    links, mode, inode, size, blocks = _BASIC.unpack_from(buffer, _LINKS_AT)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _BTIME_AT)
    (mount,) = struct.unpack_from("=Q", buffer, _MOUNT_AT)
    return Glimpse(mode, links, inode, min(size, blocks * 512), seconds * 10**9 + nanoseconds, mount)


def enter_mount_namespace(process: int) -> None:
    """Enter the mount namespace of another process, at its root; raises OSError."""
    fd = os.open(f"/proc/{process}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _LIBC.setns(fd, _CLONE_NEWNS) != 0:
            raise _last_error()
    finally:
        os.close(fd)


def unshare_mounts() -> None:
    """Enter a copy of this mount namespace; what is mounted in one of the two from now on is not in the other. Raises OSError."""
    if _LIBC.unshare(_CLONE_NEWNS) != 0:
        raise _last_error()
    if _LIBC.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None) != 0:
        raise _last_error()


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
