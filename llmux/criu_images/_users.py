"""Who refers to each file of a dump, and how: by descriptor, by mapping, as a working directory, by way of another file."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from llmux.criu_images._enums import RemapType
from llmux.criu_images._record import record
from llmux.criu_images._records import Dump, Fifo, FileId, Pid, Task, Terminal, TunFile


class Role(enum.Enum):
    """How a task refers to a file."""

    FD = "fd"
    MAPPING = "mapping"
    EXE = "exe"
    CWD = "cwd"
    ROOT = "root"
    IN_FLIGHT = "in flight"
    """Sent over a Unix socket (SCM_RIGHTS) and not received yet: the user is whoever holds the receiving socket."""

    __hash__ = object.__hash__  # That of Enum is a function of Python; there is a user for each descriptor.


@record
class User:
    """One use of a file: a task's descriptor 7, say, or its mapping at 7f00a000."""

    pid: Pid
    role: Role
    number: int = 0
    """The descriptor's number, the start address of the lowest mapping, the receiving socket's descriptor; else 0."""


Users: TypeAlias = dict[FileId, tuple[User, ...]]


class _Merged(dict[FileId, dict[User, None]]):
    """The users of files that others stand in for or are sent through, each once; most files need none of that."""

    def __init__(self, direct: Mapping[FileId, list[User]]) -> None:
        self._direct = direct

    def __missing__(self, file: FileId) -> dict[User, None]:
        found = self[file] = dict.fromkeys(self._direct.get(file, ()))
        return found


def users_of_files(dump: Dump) -> Users:
    """Find who refers to each file, also by way of a FIFO, a terminal, a link remap or a message in flight."""
    direct: defaultdict[FileId, list[User]] = defaultdict(list)
    for task in dump.tasks:
        _add_uses(task, direct)
    merged = _Merged(direct)
    _add_in_flight(dump, merged)
    for source, target in _aliases(dump):
        merged[target].update(merged[source])
    return {file: tuple(found) for file, found in (direct | merged).items()}


def _add_uses(task: Task, users: defaultdict[FileId, list[User]]) -> None:
    for descriptor in task.descriptors:
        users[descriptor.file].append(User(task.pid, Role.FD, descriptor.fd))
    lowest: dict[FileId, int] = {}
    for mapping in task.mappings:
        if mapping.file is not None:
            lowest.setdefault(mapping.file, mapping.start)
    for file, start in lowest.items():
        users[file].append(User(task.pid, Role.MAPPING, start))
    for role, own in ((Role.EXE, task.exe), (Role.CWD, task.cwd), (Role.ROOT, task.root)):
        if own is not None:
            users[own].append(User(task.pid, role))


def _add_in_flight(dump: Dump, users: _Merged) -> None:
    """Make users of those who hold the receiving socket; that socket may itself be on its way through another."""
    sent: defaultdict[FileId, list[FileId]] = defaultdict(list)
    for packet in dump.packets:
        sent[packet.socket] += packet.rights
    waiting = [socket for socket in sent if users[socket]]
    done: set[FileId] = set()
    while waiting:
        socket = waiting.pop()
        if socket in done:
            continue
        done.add(socket)
        holders = [replace(user, role=Role.IN_FLIGHT) for user in users[socket]]
        for file in sent[socket]:
            users[file].update(dict.fromkeys(holders))
            if file in sent:
                waiting.append(file)


_STAND_INS = (Fifo, Terminal, TunFile)


def _aliases(dump: Dump) -> Iterator[tuple[FileId, FileId]]:
    """Pair each file with another entry that stands in for it."""
    for file in dump.files.values():
        if isinstance(file, _STAND_INS) and file.regular_file is not None:
            yield file.id, file.regular_file
    for remap in dump.remaps:
        if remap.type is RemapType.LINKED:
            yield remap.original, FileId(remap.remap_id)
