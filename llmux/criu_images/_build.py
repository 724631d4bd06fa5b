"""Carries out a plan's actions one by one, each written into the journal first. Nothing that exists is ever changed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from llmux.criu_images._actions import (
    Action,
    HoldBindPoint,
    MakeDirectory,
    MakeFifo,
    MakeSymlink,
    MaskWithCopy,
    PlaceFile,
    RemoveStale,
)
from llmux.criu_images._checkpoint import open_file
from llmux.criu_images._counted import counted
from llmux.criu_images._digest import ShortReadError, algorithm_of, copy_file
from llmux.criu_images._facts import Born
from llmux.criu_images._journal import Journal, Kind, Made
from llmux.criu_images._keep import Kept
from llmux.criu_images._linux import bind_mount, mount_memory, unmount
from llmux.criu_images._metadata import apply_flags, apply_metadata, apply_times
from llmux.criu_images._observe import is_held
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._progress import Meter
from llmux.criu_images._safefs import Tree, Way, inspect_fd, secret_name
from llmux.criu_images.errors import SideFileDiffers, UnsafeLink
from llmux.criu_images.manifest import DirectoryEntry, FifoEntry, FileEntry, Metadata, SymlinkEntry

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Builder:
    """One run over a plan's actions."""

    def __init__(  # noqa: PLR0913 - what one run works with
        self, tree: Tree, side: int, journal: Journal, masks: Path, meter: Meter, *, kept: Kept
    ) -> None:
        """`side` is the open directory of side files; `masks` a place where nothing is, for copies that are mounted over files; `meter` counts the copies.

        `kept` locks what one restore at a time may use.
        """
        self._tree = tree
        self._side = side
        self._journal = journal
        self._masks = masks
        self._meter = meter
        self._kept = kept
        self._directories: list[DirectoryEntry] = []
        self._flagged: list[tuple[RawPath, int]] = []
        self._found: dict[Born, RawPath] = {}
        self._own: set[Born] = set()

    def do(self, action: Action) -> None:
        """Carry out one action; raises OSError, UnsafeLink, SideFileDiffers."""
        match action:
            case RemoveStale():
                self._remove_stale(action)
            case MakeDirectory(entry):
                self._make_directory(entry)
            case MakeSymlink(entry):
                self._make_symlink(entry)
            case MakeFifo(entry):
                self._make_fifo(entry)
            case PlaceFile(entry, names, bytes() as existing, _, identity):
                self._add_names(entry, names, existing, identity)
            case PlaceFile(entry, names):
                self._place_file(entry, names)
            case MaskWithCopy(entry):
                self._mask(entry)
            case HoldBindPoint(name):
                if not action.abstract:  # the holder is started once all else is there
                    self._journal.add(Made(Kind.SOCKET, (name,)))
            case _:
                assert_never(action)

    def finish(self) -> None:
        """Set the times of the made directories, which their content has changed, the deepest first, then the flags; raises OSError, UnsafeLink."""
        for entry in reversed(self._directories):
            with self._tree.open(entry.path, os.O_RDONLY | os.O_DIRECTORY) as fd:
                apply_times(fd, entry.metadata)
        for path, flags in self._flagged:
            self._set_flags(path, flags)

    def note_directories(self) -> None:
        """Write down how the directories that were there have been left, so that an undo knows whether others changed them; raises JournalInvalid."""
        for born, path in self._found.items():
            with suppress(OSError, UnsafeLink):
                inode = self._tree.inspect(path)
                if inode is not None and inode.born == born:
                    self._journal.add(Made.of(Kind.DIRECTORY_LEFT, (path,), inode))

    @contextmanager
    def _way_to(self, path: RawPath) -> Iterator[Way]:
        """Walk to the directory that is about to be changed; write down its times if it was there before."""
        with self._tree.way_to(path) as way:
            directory = inspect_fd(way.directory)
            if directory.born not in self._own and directory.born not in self._found:
                self._found[directory.born] = way.parent
                self._journal.add(Made.of(Kind.DIRECTORY_FOUND, (way.parent,), directory))
            yield way

    def _set_flags(self, path: RawPath, flags: int) -> None:
        """Make what is finished immutable, or append-only: nothing can be linked, written or dated after."""
        with self._tree.open(path, os.O_PATH) as fd:
            self._journal.add(replace(Made.of(Kind.FLAGS, (path,), inspect_fd(fd)), flags=flags))
            apply_flags(fd, flags)

    def _remove_stale(self, action: RemoveStale) -> None:
        if action.unused:
            with self._tree.open_file(action.path, os.O_RDONLY) as fd:
                if is_held(fd) is not False:
                    raise OSError(errno.EBUSY, "a process has opened it just now")
        with self._tree.way_to(
            action.path
        ) as way:  # what it held is not brought back, so its time stays as it gets now
            status = os.stat(way.name, dir_fd=way.directory, follow_symlinks=False)
            if (status.st_dev, status.st_ino) == action.identity:
                os.unlink(way.name, dir_fd=way.directory)

    def _make_directory(self, entry: DirectoryEntry) -> None:
        with self._way_to(entry.path) as way:
            self._journal.add(Made(Kind.DIRECTORY_INTENDED, (entry.path,)))
            os.mkdir(way.name, 0o700, dir_fd=way.directory)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(way.name, flags, dir_fd=way.directory)
        try:
            _check_own(fd, stat.S_IFDIR)
            made = inspect_fd(fd)
            self._own.add(made.born)
            self._journal.add(Made.of(Kind.DIRECTORY, (entry.path,), made))
            apply_metadata(fd, entry.metadata)
        finally:
            os.close(fd)
        self._directories.append(entry)
        self._flag(entry.path, entry.metadata)

    def _flag(self, path: RawPath, metadata: Metadata) -> None:
        if metadata.flags:
            self._flagged.append((path, metadata.flags))

    def _make_symlink(self, entry: SymlinkEntry) -> None:
        with self._temporary(entry.path) as (directory, name):
            os.symlink(bytes(entry.target), name, dir_fd=directory)
            self._publish_node(directory, name, stat.S_IFLNK, (entry.path,), entry.metadata)

    def _make_fifo(self, entry: FifoEntry) -> None:
        with self._temporary(entry.path) as (directory, name):
            os.mkfifo(name, 0o600, dir_fd=directory)
            self._publish_node(directory, name, stat.S_IFIFO, (entry.path,), entry.metadata)

    def _publish_node(
        self, directory: int, name: bytes, kind: int, names: tuple[RawPath, ...], metadata: Metadata
    ) -> None:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            _check_own(fd, kind)
            self._publish(fd, names, metadata)
        finally:
            os.close(fd)

    def _add_names(
        self,
        entry: FileEntry,
        names: tuple[RawPath, ...],
        existing: RawPath,
        identity: tuple[int, int] | None,
    ) -> None:
        with self._tree.open(existing, os.O_PATH) as fd:
            if inspect_fd(fd).identity != identity:
                raise OSError(errno.ESTALE, f"somebody has replaced {escape(existing)}")
            self._kept.take(entry, fd)
            self._link(fd, names)

    def _place_file(self, entry: FileEntry, names: tuple[RawPath, ...]) -> None:
        with self._temporary(names[0]) as (directory, name):
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=directory)
            try:
                self._fill(fd, entry)
                self._kept.take(entry, fd)
                self._publish(fd, names, entry.metadata)
            finally:
                os.close(fd)
        self._flag(names[0], entry.metadata)

    def _fill(self, fd: int, entry: FileEntry) -> None:
        """Copy a side file, believing it only once its digest is right; a name never appears before its content is on disk."""
        name, digest = entry.carried, entry.digest
        if name is None or digest is None:
            raise ValueError("only a carried file is placed")
        with self._meter.file(entry.names[0], entry.size) as advance, self._side_file(name) as source:
            found = os.fstat(source).st_size
            if found != entry.size:
                raise SideFileDiffers(name, f"has {counted(found, 'byte')}, the manifest has {entry.size}")
            try:
                copied = copy_file(source, fd, entry.size, algorithm_of(digest), advance, segments=entry.data)
            except ShortReadError as error:
                raise SideFileDiffers(name, "it shrank while it was read") from error
        if copied != digest:
            raise SideFileDiffers(name, f"its digest is {copied}, the manifest has {digest}")
        os.fsync(fd)

    @contextmanager
    def _side_file(self, name: str) -> Iterator[int]:
        with ExitStack() as stack:
            try:
                fd = stack.enter_context(open_file(name, self._side))
            except FileNotFoundError as error:
                raise SideFileDiffers(name, "missing") from error
            except OSError as error:
                raise SideFileDiffers(name, error.strerror or str(error)) from error
            yield fd

    def _publish(self, fd: int, names: tuple[RawPath, ...], metadata: Metadata) -> None:
        apply_metadata(fd, metadata)
        self._link(fd, names)

    def _link(self, fd: int, names: tuple[RawPath, ...]) -> None:
        """Give the inode `fd` all of `names`: by descriptor, so that it is this inode whatever happens to its temporary name."""
        self._journal.add(Made.of(Kind.NODE, names, inspect_fd(fd)))
        for name in names:
            with self._way_to(name) as way:
                try:
                    os.link(f"/proc/self/fd/{fd}", way.name, dst_dir_fd=way.directory, follow_symlinks=True)
                except FileExistsError as error:
                    raise OSError(
                        error.errno, "another restore, or somebody else, has just made it"
                    ) from error

    @contextmanager
    def _temporary(self, path: RawPath) -> Iterator[tuple[int, bytes]]:
        """Give a name beside `path` that nobody can guess, and unlink what is made under it."""
        name = secret_name()
        self._journal.add(Made(Kind.TEMPORARY, (RawPath(path.rpartition(b"/")[0] + b"/" + name),)))
        with self._way_to(path) as way:
            try:
                yield way.directory, name
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=way.directory)

    def _mask(self, entry: FileEntry) -> None:
        """Mount a copy in memory over the file: it is gone with the mount namespace, whoever ends that, and needs no name elsewhere."""
        path = entry.names[0]
        with self._memory() as memory:
            fd = os.open("copy", _NEW_FILE, 0o600, dir_fd=memory)
            try:
                self._fill(fd, entry)
                apply_metadata(fd, entry.metadata)
                self._journal.add(Made.of(Kind.MASK, (path,), inspect_fd(fd)))
                with self._tree.open(path, os.O_PATH) as target:
                    bind_mount(fd, target)
            finally:
                os.close(fd)

    @contextmanager
    def _memory(self) -> Iterator[int]:
        """Give a directory in memory; what is mounted from it elsewhere stays when the directory goes."""
        self._journal.add(Made(Kind.MASKS_PLACE, (RawPath(os.fsencode(self._masks)),)))
        clear_masks_place(self._masks)
        self._masks.mkdir(mode=0o700)
        try:
            mount_memory(self._masks)
            fd = os.open(self._masks, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield fd
            finally:
                os.close(fd)
        finally:
            clear_masks_place(self._masks)


def clear_masks_place(place: Path) -> None:
    """Unmount what is mounted on the place for copies, and remove it; raises OSError."""
    with suppress(FileNotFoundError):
        while place.is_mount():
            unmount(place)
        place.rmdir()


def _check_own(fd: int, kind: int) -> None:
    """Make sure that what was opened by name is what was just made under it; raises OSError."""
    status = os.fstat(fd)
    if stat.S_IFMT(status.st_mode) != kind or status.st_uid != os.geteuid():
        raise OSError("somebody replaced it while it was made")
