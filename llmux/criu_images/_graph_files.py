"""The files of a graph: those that more than one process has open, or maps so that the others see what it writes."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import TypeAlias

from llmux.criu_images import _words as words
from llmux.criu_images._enums import RemapType
from llmux.criu_images._graph_model import Part, Place, Sketch, Thing, held_by, shortened
from llmux.criu_images._paths import escape
from llmux.criu_images._records import (
    Fifo,
    File,
    FileId,
    InetSocket,
    Memfd,
    NetlinkSocket,
    PacketSocket,
    Pipe,
    RegularFile,
    Remap,
    Terminal,
    TunFile,
    UnixSocket,
)
from llmux.criu_images._users import Role, User

_PART = Part.FILES
_MAP_SHARED = 1
_PROT_WRITE = 2
_ELSEWHERE = UnixSocket | InetSocket | NetlinkSocket | PacketSocket | Pipe | Fifo

_Same: TypeAlias = tuple[str, bytes, int]
"""What makes two entries one file: opened twice it is there twice."""


def add_files(sketch: Sketch) -> int:
    """Add what several processes share; return how many rows with names that makes."""
    remaps = {remap.original: remap for remap in sketch.dump.remaps}
    written = set(_written(sketch))
    devices: list[str] = []
    only_read: list[str] = []
    shared = 0
    for files in _grouped(sketch, remaps).values():
        users = [user for file in files for user in sketch.users.get(file.id, ())]
        holders = held_by(users)
        if len(holders) < 2:
            continue
        first = files[0]
        if _is_device(first):
            devices.append(_text(sketch, first))
        elif not _may_change(users, files, written):
            only_read.append(_text(sketch, first))
        else:
            thing = Thing(f"file {first.id}", _PART, _text(sketch, first), _details(sketch, first, remaps))
            sketch.add_held(thing, holders)
            shared += 1
    _add_counted(sketch, "devices", "devices", devices)
    _add_counted(sketch, "only-read", "programs, libraries and other files that are only read", only_read)
    return shared


def _add_counted(sketch: Sketch, key: str, noun: str, names: list[str]) -> None:
    """Make one row of things by which no process notices another."""
    if names:
        text = names[0] if len(names) == 1 else f"{len(names)} {noun}"
        sketch.add(Thing(key, _PART, text, shortened(names)), Place.SHARED)


def _grouped(sketch: Sketch, remaps: dict[FileId, Remap]) -> dict[_Same, list[File]]:
    aliases = set(_aliases(sketch))
    groups: dict[_Same, list[File]] = {}
    for file in sketch.dump.files.values():
        if not isinstance(file, _ELSEWHERE) and file.id not in aliases:
            groups.setdefault(_same(file, remaps), []).append(file)
    return groups


def _aliases(sketch: Sketch) -> Iterator[FileId]:
    """Find the entries that stand behind another one, which is drawn."""
    for file in sketch.dump.files.values():
        if isinstance(file, Fifo | Terminal | TunFile) and file.regular_file is not None:
            yield file.regular_file
    for remap in sketch.dump.remaps:
        if remap.type is RemapType.LINKED:
            yield FileId(remap.remap_id)


def _same(file: File, remaps: dict[FileId, Remap]) -> _Same:
    match file:
        case RegularFile():
            remap = remaps.get(file.id)
            return "reg", file.name, -1 if remap is None else remap.remap_id
        case Memfd():
            return "memfd", b"", file.inode
        case Terminal():
            return "tty", b"", file.info
        case _:
            return "file", b"", file.id


def _written(sketch: Sketch) -> Iterator[FileId]:
    """Find the files that somebody maps shared and may write."""
    for task in sketch.dump.tasks:
        for mapping in task.mappings:
            if mapping.file is not None and mapping.flags & _MAP_SHARED and mapping.protection & _PROT_WRITE:
                yield mapping.file


def _may_change(users: list[User], files: list[File], written: set[FileId]) -> bool:
    """Tell whether one process can see what another does: by descriptors, or by a mapping that is written."""
    return any(file.id in written for file in files) or any(
        user.role is Role.FD or user.role is Role.IN_FLIGHT for user in users
    )


def _is_device(file: File) -> bool:
    mode = (file.mode or 0) if isinstance(file, RegularFile) else 0
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _text(sketch: Sketch, file: File) -> str:
    match file:
        case RegularFile():
            return escape(file.name)
        case Memfd():
            return f"memfd {escape(file.name)}"
        case Terminal():
            node = None if file.regular_file is None else sketch.dump.files.get(file.regular_file)
            name = escape(node.name) if isinstance(node, RegularFile) else f"{file.info:#x}"
            return f"terminal {name}"
        case _:
            return f"{words.file_kind(file)} {file.id:#x}"


def _details(sketch: Sketch, file: File, remaps: dict[FileId, Remap]) -> tuple[str, ...]:
    size = file.size if isinstance(file, RegularFile | Memfd) else None
    remap = remaps.get(file.id)
    lines = (
        "" if size is None else words.human_size(size),
        "" if remap is None else _remap_text(sketch, remap),
    )
    return tuple(filter(None, lines))


def _remap_text(sketch: Sketch, remap: Remap) -> str:
    if remap.type is RemapType.LINKED:
        link = sketch.dump.files.get(FileId(remap.remap_id))
        return (
            f"deleted; restored by way of {escape(link.name)}" if isinstance(link, RegularFile) else "deleted"
        )
    return (
        "deleted; its content is in the images"
        if remap.type is RemapType.GHOST
        else "of a process that is gone"
    )
