"""A directory of CRIU images to one decoded Dump.

The directory is opened once; every image is opened by name below its descriptor, never through a symbolic link, and only
if it is a regular file. A `parent` link to an earlier dump is left alone: only memory pages lie there.

Ids that lead from one image to another are checked here, so whoever works with a Dump may follow them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

from llmux.criu_images import _decode as decode
from llmux.criu_images import _wire as wire
from llmux.criu_images._decode_files import decode_file
from llmux.criu_images._entry import Entry
from llmux.criu_images._enums import RemapType, TaskState
from llmux.criu_images._records import (
    Descriptor,
    Dump,
    File,
    FileId,
    GhostFile,
    Memfd,
    Mount,
    OtherFile,
    Pid,
    PipeData,
    Remap,
    SocketInode,
    SysvSegment,
    Task,
    TcpQueues,
    Unknown,
)
from llmux.criu_images.errors import DamagedImage, NotADump, UnreadableImage

_FILES: Final = "files.img"
_REMAPS: Final = "remap-fpath.img"
_TREE: Final = "pstree.img"
_TCP_NAME: Final = re.compile(r"tcp-stream-([0-9a-f]{1,8})\.img")
_MOUNTS_NAME: Final = re.compile(r"mountpoints-[0-9]+\.img")
_SYSV_NAME: Final = re.compile(r"ipcns-shm-[0-9]+\.img")


def read_dump(directory: str | os.PathLike[str]) -> Dump:
    """Read a whole dump, apart from its memory pages.

    Raises NotADump, UnreadableImage, DamagedImage, PycriuMissing or PycriuIncompatible.
    """
    with _Images(os.fspath(directory)) as images:
        header = decode.decode_inventory(images.one("inventory.img", wire.INVENTORY))
        files = _read_files(images)
        remaps = _read_remaps(images, files)
        tasks = _read_tasks(images, header, files)
        return Dump(
            image_version=header.image_version,
            root_task=tasks[0].pid,
            files=files.by_id,
            remaps=remaps,
            ghosts=_read_ghosts(images, remaps),
            packets=tuple(map(decode.decode_packet, images.maybe("sk-queues.img", wire.SK_QUEUES))),
            tasks=tasks,
            locks=tuple(map(decode.decode_lock, images.maybe("filelocks.img", wire.FILE_LOCKS))),
            mounts=_read_mounts(images),
            pipe_data=_read_pipe_data(images),
            tcp_queues=_read_tcp_queues(images),
            sysv_segments=_read_sysv_segments(images),
            plugins=header.plugins,
            unknown=(*files.unknown, *_unknown_remaps(remaps)),
        )


class _Images:
    """A directory of images, open for reading."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def __enter__(self) -> Self:
        try:
            self._fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise NotADump(self.directory, error.strerror or str(error)) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def names(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """Match the directory's names, in a stable order."""
        for name in sorted(os.listdir(self._fd)):  # noqa: PTH208 - pathlib can't list a descriptor
            if found := pattern.fullmatch(name):
                yield found

    def maybe(self, name: str, image_format: wire.ImageFormat) -> Iterator[Entry]:
        """Yield an image's entries; none where the image is missing, as CRIU leaves out some that would be empty."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd)
        except FileNotFoundError:
            return
        except OSError as error:
            raise UnreadableImage(f"{self.directory}/{name}", error.strerror or str(error)) from error
        with os.fdopen(fd, "rb") as stream:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImage(f"{self.directory}/{name}", "it is not a regular file")
            yield from wire.read_entries(stream, status.st_size, name, image_format)

    def all(self, name: str, image_format: wire.ImageFormat) -> Iterator[Entry]:
        """Yield the entries of an image that every dump has.

        Raises NotADump where it is missing.
        """
        if not self.has(name):
            raise NotADump(self.directory, f"it has no {name}")
        return self.maybe(name, image_format)

    def one(self, name: str, image_format: wire.ImageFormat) -> Entry:
        """Return the first entry of an image that every dump has.

        Raises NotADump where the image is missing and DamagedImage where it is empty.
        """
        for entry in self.all(name, image_format):
            return entry
        raise DamagedImage(name, "it has no entry")

    def has(self, name: str) -> bool:
        return os.access(name, os.F_OK, dir_fd=self._fd, follow_symlinks=False)

    def size(self, name: str) -> int:
        return os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_size


@dataclass(frozen=True, slots=True)
class _Files:
    by_id: dict[FileId, File]
    unknown: tuple[Unknown, ...]

    def require(self, file: FileId, image: str, field: str, entry: int | None = None) -> None:
        if file not in self.by_id:
            raise DamagedImage(image, f"file {file:#x} is not in {_FILES}", entry=entry, field=field)


def _read_files(images: _Images) -> _Files:
    memfds = {
        inode.id: inode
        for inode in map(decode.decode_memfd_inode, images.maybe("memfd.img", wire.MEMFD_INODE))
    }
    by_id: dict[FileId, File] = {}
    unknown: list[Unknown] = []
    for entry in images.all(_FILES, wire.FILES):
        file = decode_file(entry)
        if isinstance(file, Memfd) and (inode := memfds.get(file.inode)):
            file = replace(file, name=inode.name, size=inode.size)
        if isinstance(file, OtherFile) and isinstance(file.type, int):
            unknown.append(
                Unknown(_FILES, entry.index, f"file {file.id:#x} is of type {file.type}, unknown here")
            )
        if by_id.setdefault(file.id, file) is not file:
            unknown.append(
                Unknown(_FILES, entry.index, f"file id {file.id:#x} is used twice; the first counts")
            )
    return _Files(by_id, tuple(unknown))


def _read_remaps(images: _Images, files: _Files) -> tuple[Remap, ...]:
    return tuple(_read_remap(entry, files) for entry in images.maybe(_REMAPS, wire.REMAP_FPATH))


def _read_remap(entry: Entry, files: _Files) -> Remap:
    remap = decode.decode_remap(entry)
    files.require(remap.original, _REMAPS, "orig_id", entry.index)
    if remap.type is RemapType.LINKED:
        files.require(FileId(remap.remap_id), _REMAPS, "remap_id", entry.index)
    return remap


def _unknown_remaps(remaps: Iterable[Remap]) -> Iterator[Unknown]:
    for number, remap in enumerate(remaps):
        if isinstance(remap.type, int):
            yield Unknown(
                _REMAPS,
                number,
                f"the remap of file {remap.original:#x} is of type {remap.type}, unknown here",
            )


def _read_ghosts(images: _Images, remaps: Iterable[Remap]) -> dict[int, GhostFile]:
    numbers = sorted({remap.remap_id for remap in remaps if remap.type is RemapType.GHOST})
    return {number: _read_ghost(images, number) for number in numbers}


def _read_ghost(images: _Images, number: int) -> GhostFile:
    name = f"ghost-file-{number:x}.img"
    entry = images.one(name, wire.GHOST_FILE)
    return decode.decode_ghost(entry, number, images.size(name) - entry.end)


def _read_mounts(images: _Images) -> tuple[Mount, ...]:
    return tuple(
        decode.decode_mount(entry)
        for name in images.names(_MOUNTS_NAME)
        for entry in images.maybe(name[0], wire.MNTS)
    )


def _read_sysv_segments(images: _Images) -> tuple[SysvSegment, ...]:
    return tuple(
        decode.decode_sysv_segment(entry)
        for name in images.names(_SYSV_NAME)
        for entry in images.maybe(name[0], wire.IPCNS_SHM)
    )


def _read_pipe_data(images: _Images) -> tuple[PipeData, ...]:
    pipes = map(decode.decode_pipe_data, images.maybe("pipes-data.img", wire.PIPES_DATA))
    fifos = map(decode.decode_pipe_data, images.maybe("fifo-data.img", wire.FIFO_DATA))
    return (*pipes, *fifos)


def _read_tcp_queues(images: _Images) -> tuple[TcpQueues, ...]:
    return tuple(
        decode.decode_tcp_stream(entry, SocketInode(int(name[1], 16)))
        for name in images.names(_TCP_NAME)
        for entry in images.maybe(name[0], wire.TCP_STREAM)
    )


def _read_tasks(images: _Images, header: decode.DumpHeader, files: _Files) -> tuple[Task, ...]:
    reader = _TaskReader(images, header, files)
    return tuple(map(reader.read, _read_tree(images)))


def _read_tree(images: _Images) -> list[decode.TreeItem]:
    """Read the process tree: the root comes first, with parent 0, and every parent before its children.

    So says `read_one_pstree_item`; whoever walks the tree may rely on it to end.
    """
    items: list[decode.TreeItem] = []
    pids: set[Pid] = set()
    for entry in images.all(_TREE, wire.PSTREE):
        item = decode.decode_tree_item(entry)
        if item.pid in pids:
            raise entry.damaged("pid", f"{item.pid} is listed twice")
        if item.ppid not in (pids or {Pid(0)}):
            raise entry.damaged("ppid", f"{item.ppid} is no task before it")
        items.append(item)
        pids.add(item.pid)
    if not items:
        raise DamagedImage(_TREE, "it has no task")
    return items


class _TaskReader:
    """Joins the images of each task; a descriptor table that tasks share is read once."""

    def __init__(self, images: _Images, header: decode.DumpHeader, files: _Files) -> None:
        self._images = images
        self._by_table = header.descriptors_by_table
        self._files = files
        self._tables: dict[int, tuple[Descriptor, ...]] = {}

    def read(self, item: decode.TreeItem) -> Task:
        core = decode.decode_core(self._images.one(f"core-{item.pid}.img", wire.CORE))
        # A zombie has nothing but its core.
        lives = core.state in {TaskState.ALIVE, TaskState.STOPPED}
        memory = self._memory(item.pid) if lives else None
        directories = self._directories(item.pid) if lives else None
        return Task(
            pid=item.pid,
            ppid=item.ppid,
            pgid=item.pgid,
            sid=item.sid,
            threads=item.threads,
            comm=core.comm,
            state=core.state,
            exe=None if memory is None else memory.exe,
            cwd=None if directories is None else directories.cwd,
            root=None if directories is None else directories.root,
            descriptors=self._descriptors(item.pid) if lives else (),
            mappings=() if memory is None else memory.mappings,
            seccomp=core.seccomp,
        )

    def _memory(self, pid: Pid) -> decode.Memory:
        name = f"mm-{pid}.img"
        memory = decode.decode_memory(self._images.one(name, wire.MM))
        self._files.require(memory.exe, name, "exe_file_id")
        for mapping in memory.mappings:
            if mapping.file is not None:
                self._files.require(mapping.file, name, f"vmas (at {mapping.start:x})")
        return memory

    def _directories(self, pid: Pid) -> decode.Directories:
        name = f"fs-{pid}.img"
        directories = decode.decode_directories(self._images.one(name, wire.FS))
        self._files.require(directories.cwd, name, "cwd_id")
        self._files.require(directories.root, name, "root_id")
        return directories

    def _descriptors(self, pid: Pid) -> tuple[Descriptor, ...]:
        table: int = pid
        if self._by_table:
            table = decode.decode_descriptor_table_id(self._images.one(f"ids-{pid}.img", wire.IDS))
        if table not in self._tables:
            name = f"fdinfo-{table}.img"
            self._tables[table] = tuple(
                self._descriptor(entry) for entry in self._images.all(name, wire.FDINFO)
            )
        return self._tables[table]

    def _descriptor(self, entry: Entry) -> Descriptor:
        descriptor = decode.decode_descriptor(entry)
        self._files.require(descriptor.file, entry.image, "id", entry.index)
        return descriptor
