"""Who holds a lock here that keeps a restore from taking one of the dump's: asked of the kernel, file by file.

/proc/locks leaves out what processes of other PID namespaces hold, and a container that shares the volume is one. So each lock is tried on an open file
description of our own, just as CRIU will (`restore_file_lock` of file-lock.c), and let go at once; a range is only asked about. /proc serves to name the holder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import assert_never

from llmux.criu_images._lock_users import FLOCKS, RANGES, name_users
from llmux.criu_images._paths import RawPath
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import UnsafeLink
from llmux.criu_images.manifest import LockEntry, LockKind, Manifest

_FLOCK = struct.Struct("hhqqi4x")
"""struct flock of fcntl(2) on 64-bit machines."""
_RIVALS = {LockKind.POSIX: RANGES, LockKind.OFD: RANGES, LockKind.FLOCK: FLOCKS, LockKind.LEASE: None}
"""What stands in the way of a lock; of a lease, that the file is open at all."""
_UNSEEN = "a process that is not seen from here, of another container perhaps,"


def find_holders(manifest: Manifest, tree: Tree) -> Mapping[int, str]:
    """Return who holds a lock that rivals one of the manifest's, by its place there; nobody for files that cannot be looked at.

    Only regular files and directories are: opening another node might wait, or do something.
    """
    locks = manifest.locks
    names = {name: file.names for file in manifest.files for name in file.names} if locks else {}
    by_file: defaultdict[tuple[RawPath, ...], list[int]] = defaultdict(list)
    for number, lock in enumerate(locks):
        by_file[names.get(lock.path, (lock.path,))].append(number)
    found = {}
    for paths, numbers in by_file.items():
        with suppress(OSError, UnsafeLink), _open(tree, paths) as fd:
            for number in numbers:
                if is_taken(fd, locks[number]):
                    found[number] = name_users(fd, _RIVALS[locks[number].kind]) or _UNSEEN
    return found


@contextmanager
def _open(tree: Tree, names: Iterable[RawPath]) -> Iterator[int]:
    """Open the first of the names at which something is: a link remap may be missing where its partner is not. Raises OSError, UnsafeLink."""
    seen = ((name, tree.inspect(name)) for name in names)
    path, inode = next((one for one in seen if one[1] is not None), (RawPath(b"/"), None))
    if inode is None:
        raise FileNotFoundError(errno.ENOENT, "none of its names is here")
    is_directory = stat.S_ISDIR(inode.mode)
    opened = (
        tree.open(path, os.O_RDONLY | os.O_DIRECTORY) if is_directory else tree.open_file(path, os.O_RDONLY)
    )
    with opened as fd:
        yield fd


def is_taken(fd: int, lock: LockEntry) -> bool:
    """Tell whether somebody keeps others from taking `lock`; False where the file system has no such locks. Leaves none."""
    try:
        match lock.kind:
            case LockKind.FLOCK:
                return not _try_flock(fd, fcntl.LOCK_EX if lock.exclusive else fcntl.LOCK_SH)
            case LockKind.LEASE:
                return not _try_lease(fd, fcntl.F_WRLCK if lock.exclusive else fcntl.F_RDLCK)
            case LockKind.POSIX | LockKind.OFD:
                return _is_range_taken(fd, lock)
            case _:
                assert_never(lock.kind)
    except OSError:
        return False


def _try_flock(fd: int, operation: int) -> bool:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def _try_lease(fd: int, kind: int) -> bool:
    # Should somebody open the file in between, the kernel sends a signal: one that is ignored by default.
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, kind)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return False
        raise
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True


def _is_range_taken(fd: int, lock: LockEntry) -> bool:
    kind = fcntl.F_WRLCK if lock.exclusive else fcntl.F_RDLCK
    asked = _FLOCK.pack(kind, os.SEEK_SET, lock.start, lock.length, 0)
    found = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))
    return bool(found[0] != fcntl.F_UNLCK)
