"""flock(2) on directories: how several containers share one store without removing what another one makes or reads.

Interface: `Lock(directory, kind)`, `locked(directory)`, `make_locked(directory)`, `lock_new(directory, kind)`,
`remove_unlocked(directory)`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class Lock:
    """A flock(2) on a directory, held until closed. File systems that know no locks are taken on trust."""

    def __init__(self, directory: Path, kind: int) -> None:
        """Raise BlockingIOError where somebody else holds it and `kind` says not to wait."""
        self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(self._fd, kind)
        except BlockingIOError:
            self.close()
            raise
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                self.close()
                raise

    def fileno(self) -> int:
        """Return its descriptor: a process that inherits it holds the lock too."""
        return self._fd

    def is_removed(self) -> bool:
        """Say whether the directory has lost its name to somebody who held the lock before."""
        return os.fstat(self._fd).st_nlink == 0

    def close(self) -> None:
        """Let go."""
        os.close(self._fd)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[bool]:
    """Hold a directory for oneself; gives False where somebody else uses it or it has vanished."""
    try:
        lock = Lock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        yield False
        return
    with contextlib.closing(lock):
        yield True


def make_locked(directory: Path) -> Lock | None:
    """Make a directory that is locked; None where another container was quicker, to make it or to clear it away."""
    try:
        directory.mkdir(mode=0o700)
    except (FileExistsError, FileNotFoundError):
        return None
    return lock_new(directory, fcntl.LOCK_EX)


def lock_new(directory: Path, kind: int) -> Lock | None:
    """Lock a directory that was just made; None where somebody has cleared it away, or is about to."""
    try:
        lock = Lock(directory, kind | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):
        return None
    if lock.is_removed():
        lock.close()
        return None
    return lock


def remove_unlocked(directory: Path) -> bool:
    """Remove a directory unless somebody uses it; say whether it is gone."""
    with locked(directory) as ours:
        if ours:
            shutil.rmtree(directory)
        return ours
