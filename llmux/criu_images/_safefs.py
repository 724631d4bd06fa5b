"""File-system access that assumes somebody else can write to the same directories.

We run as root and walk paths like /tmp/x that any user may change under our feet. So every path is walked from the
root by directory descriptor, one component at a time, never following a link that somebody other than root (or the
caller) put there: stricter than the kernel's fs.protected_symlinks, which looks at sticky directories only. Metadata
is set through descriptors. A file gets its content and metadata under a name nobody can guess and is then linked to
its own name, which fails if that exists: nothing is ever overwritten.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from llmux.criu_images._facts import Inode
from llmux.criu_images._linux import extended_stat
from llmux.criu_images._paths import RawPath
from llmux.criu_images.errors import UnsafeLink

_PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40
"""As the kernel's MAXSYMLINKS."""


@dataclass(frozen=True, slots=True)
class Way:
    """The directory that holds a path's last component."""

    directory: int
    """An O_PATH descriptor, valid while the walk's context lasts."""
    name: bytes
    """The last component; b"." for the root itself."""
    parent: RawPath
    """The directory's real path."""


class Tree:
    """Everything below one directory, which is `/` to the paths given; links never lead out of it."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def descriptor(self) -> int:
        """The root's own, open for walking only."""
        return self._root

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._root)

    @contextmanager
    def way_to(self, path: RawPath) -> Iterator[Way]:
        """Walk to the directory that holds `path`'s last component, which is neither opened nor followed.

        Raises FileNotFoundError, NotADirectoryError, UnsafeLink, OSError (ELOOP).
        """
        parts = _split(path)
        with self._walk(path, parts[:-1]) as walk:
            yield Way(walk.fd, parts[-1] if parts else b".", walk.real)

    def resolve(self, directory: RawPath) -> tuple[RawPath, tuple[RawPath, ...]]:
        """Return the real path of `directory`, and of each link on the way to it; raises as `way_to`."""
        with self._walk(directory, _split(directory)) as walk:
            return walk.real, tuple(walk.links)

    @contextmanager
    def _walk(self, path: RawPath, parts: list[bytes]) -> Iterator[_Walk]:
        walk = _Walk(self._root, path)
        try:
            for part in parts:
                walk.step(part)
            yield walk
        finally:
            os.close(walk.fd)

    @contextmanager
    def open(self, path: RawPath, flags: int) -> Iterator[int]:
        """Open what is at `path`, its last component not followed; raises as `way_to`, and OSError."""
        with self.way_to(path) as way:
            fd = os.open(way.name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=way.directory)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def open_file(self, path: RawPath, flags: int) -> Iterator[int]:
        """Open the regular file at `path`: nothing else, whose opening might wait (a FIFO) or do something (a device).

        Raises as `open`, and OSError (EINVAL) where something else is there.
        """
        with self.open(path, os.O_PATH) as place:
            if not stat.S_ISREG(os.fstat(place).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file any more", os.fsdecode(path))
            # Somebody's lease (F_SETLEASE of fcntl(2)) would make us wait for as long as he likes.
            fd = _reopen(place, flags | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    def inspect(self, path: RawPath) -> Inode | None:
        """Return what is at `path`, or None; raises UnsafeLink, NotADirectoryError, OSError."""
        try:
            with self.open(path, os.O_PATH) as fd:
                return inspect_fd(fd)
        except FileNotFoundError:
            return None

    def readlink(self, path: RawPath) -> RawPath:
        """Return the target of the symbolic link at `path`; raises OSError."""
        with self.open(path, os.O_PATH) as fd:
            return RawPath(os.readlink(b"", dir_fd=fd))


class _Walk:
    """The state of one walk: where it stands, its real path, the links it followed."""

    def __init__(self, root: int, path: RawPath) -> None:
        self._root = root
        self._path = path
        self._parts: list[bytes] = []
        self.links: list[RawPath] = []
        self.fd = os.dup(root)

    @property
    def real(self) -> RawPath:
        return RawPath(b"/" + b"/".join(self._parts))

    def step(self, part: bytes) -> None:
        """Go one component on, and through the link if it is one."""
        todo = deque([part])
        while todo:
            self._enter(todo.popleft(), todo)

    def _enter(self, part: bytes, todo: deque[bytes]) -> None:
        if part == b"..":
            self._restart(self._parts[:-1])
            return
        fd = os.open(part, _PATH_ONLY, dir_fd=self.fd)
        try:
            status = os.fstat(fd)
            if stat.S_ISLNK(status.st_mode):
                self._follow(part, status, os.readlink(b"", dir_fd=fd), todo)
                return
            if not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(
                    errno.ENOTDIR, "a component on the way is no directory", os.fsdecode(self._path)
                )
            fd, self.fd = self.fd, fd
            self._parts.append(part)
        finally:
            os.close(fd)

    def _follow(self, part: bytes, status: os.stat_result, target: bytes, todo: deque[bytes]) -> None:
        link = RawPath(self.real.rstrip(b"/") + b"/" + part)
        if status.st_uid not in {0, os.geteuid()}:
            raise UnsafeLink(self._path, link, status.st_uid)
        self.links.append(link)
        if len(self.links) > _MOST_LINKS:
            raise OSError(errno.ELOOP, "too many levels of symbolic links", os.fsdecode(self._path))
        if target.startswith(b"/"):
            self._restart([])
        todo.extendleft(reversed(_split(target)))

    def _restart(self, parts: list[bytes]) -> None:
        """Stand at `parts`, all of them directories reached before; `..` never leaves the root."""
        os.close(self.fd)
        self.fd = os.dup(self._root)
        self._parts = []
        for part in parts:
            self._enter(part, deque())


def _split(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in {b"", b"."}]


def inspect_fd(fd: int) -> Inode:
    """Return the facts of what `fd` refers to; raises OSError."""
    status = os.fstat(fd)
    more = extended_stat(fd)
    return Inode(
        mode=status.st_mode,
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size,
        blocks=status.st_blocks,
        links=status.st_nlink,
        device=status.st_dev,
        number=status.st_ino,
        rdev=status.st_rdev,
        mtime_ns=status.st_mtime_ns,
        atime_ns=status.st_atime_ns,
        birth_ns=more.birth_ns,
        mount=more.mount,
        flags=more.flags,
        ctime_ns=status.st_ctime_ns,
    )


def by_fd(fd: int) -> str:
    """Name what `fd` refers to, even an O_PATH one; for a link, the link itself: the kernel follows no further."""
    return f"/proc/self/fd/{fd}"


def _reopen(place: int, flags: int) -> int:
    """Open what an O_PATH descriptor refers to; looking at it leaves no trace in its access time where we may ask for that."""
    if flags & os.O_ACCMODE == os.O_RDONLY:
        with suppress(PermissionError):
            return os.open(by_fd(place), flags | os.O_NOATIME)
    return os.open(by_fd(place), flags)


def secret_name() -> bytes:
    """Return a file name that nobody can guess, and that tells whose it is."""
    return b".llmux-" + secrets.token_hex(16).encode()
