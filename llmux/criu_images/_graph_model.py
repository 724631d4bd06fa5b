"""A dump as a graph: boxes of rows, and links between the rows. What goes in is decided by the `_graph_*` modules, how it looks by the writers."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from llmux.criu_images import _words as words
from llmux.criu_images._counted import counted
from llmux.criu_images._enums import TaskState
from llmux.criu_images._records import Dump, FileId, Pid, Task
from llmux.criu_images._users import Role, User, Users


class Part(enum.Enum):
    """A part of a graph; the values are what `--only` takes."""

    SOCKETS = "sockets"
    PIPES = "pipes"
    FILES = "files"


class Place(enum.Enum):
    """A box that is no process; the values are its title and what it holds."""

    SHARED = ("shared", "each row is held by more than one process")
    OUTSIDE = ("outside the dump", "the other end of a row, which the images do not hold")
    NOBODY = ("held by no process", "on its way through a socket, or not accepted yet")


BoxId: TypeAlias = Pid | Place


class LinkKind(enum.Enum):
    PEER = "peer"
    """Each is the other's peer."""
    SENDS = "sends"
    """One way: a pipe's writer to its reader, a datagram socket to its destination."""
    ACCEPTED = "accepted"
    """A listener and a connection that came in by it, held by another process."""
    HOLDS = "holds"
    """A process's descriptor or mapping, and the shared thing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One end of something, as one box holds it."""

    key: str
    """Made of numbers alone, the same for the same dump."""
    part: Part
    box: BoxId
    held: str
    """By which descriptors: `fd 3 4, mapped`."""
    what: str
    details: tuple[str, ...] = ()
    under: str | None = None
    """The row of the same box that it came in by: an accepted connection's listener."""


@dataclass(frozen=True, slots=True)
class Link:
    source: str
    target: str
    part: Part
    kind: LinkKind


@dataclass(frozen=True, slots=True)
class Box:
    id: BoxId
    title: str
    subtitle: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """Processes first, parents before children; a box of `Place` only where it has rows."""

    summary: str
    boxes: tuple[Box, ...]
    links: tuple[Link, ...]


def box_key(box: BoxId) -> str:
    return box.value[0].split()[0] if isinstance(box, Place) else f"task {box}"


@dataclass(frozen=True, slots=True)
class Thing:
    """What rows are made of: its key, and how it reads."""

    key: str
    part: Part
    what: str
    details: tuple[str, ...] = ()
    under_listener: str = ""
    """What to say where the row above says the rest."""


@dataclass(slots=True)
class Sketch:
    """A graph in the making."""

    dump: Dump
    users: Users
    rows: dict[str, Row] = field(default_factory=dict)
    links: dict[Link, None] = field(default_factory=dict)
    _in_box: dict[tuple[str, BoxId], str] = field(default_factory=dict)

    def add(self, thing: Thing, box: BoxId, held: str = "", under: str | None = None) -> None:
        """Add the thing as one row."""
        what = thing.what if under is None else thing.under_listener
        self._add_row(Row(thing.key, thing.part, box, held, what, thing.details, under), thing)

    def add_held(self, thing: Thing, holders: dict[Pid, str], listener: str | None = None) -> None:
        """Add the thing where it is held: in its one holder's box, or in the shared one with a row for each holder."""
        place = _place_of(holders)
        held = holders[place] if not isinstance(place, Place) else ""
        under = None if listener is None else self._in_box.get((listener, place))
        self.add(thing, place, held, under)
        if listener is not None and under is None:
            self.link(listener, thing.key, thing.part, LinkKind.ACCEPTED)
        if place is Place.SHARED:
            for pid, descriptors in holders.items():
                self._add_use(thing, pid, descriptors)

    def _add_use(self, thing: Thing, pid: Pid, held: str) -> None:
        key = f"{thing.key} of {pid}"
        self._add_row(Row(key, thing.part, pid, held, thing.what, thing.details), thing)
        self.link(key, thing.key, thing.part, LinkKind.HOLDS)

    def _add_row(self, row: Row, thing: Thing) -> None:
        self.rows[row.key] = row
        self._in_box[thing.key, row.box] = row.key

    def link(self, source: str, target: str, part: Part, kind: LinkKind) -> None:
        self.links[Link(source, target, part, kind)] = None

    def holders(self, *files: FileId) -> dict[Pid, str]:
        """Say by which descriptors and mappings each process holds any of the files."""
        found = [user for file in files for user in self.users.get(file, ())]
        return held_by(found)

    def boxes(self) -> tuple[Box, ...]:
        rows: defaultdict[BoxId, list[Row]] = defaultdict(list)
        for row in self.rows.values():
            rows[row.box].append(row)
        comms = {task.pid: task.comm for task in self.dump.tasks}
        processes = (
            Box(task.pid, f"{task.comm}({task.pid})", _about(task, comms), tuple(rows[task.pid]))
            for task in self.dump.tasks
        )
        places = (Box(place, *place.value, tuple(rows[place])) for place in Place if rows[place])
        return (*processes, *places)


def _place_of(holders: dict[Pid, str]) -> BoxId:
    if len(holders) == 1:
        return next(iter(holders))
    return Place.SHARED if holders else Place.NOBODY


def _about(task: Task, comms: dict[Pid, str]) -> str:
    parent = f"child of {comms[task.ppid]}({task.ppid})" if task.ppid in comms else "root of the tree"
    threads = counted(len(task.threads), "thread") if len(task.threads) > 1 else ""
    state = "" if task.state is TaskState.ALIVE else words.task_state(task.state)
    return ", ".join(filter(None, (parent, threads, state)))


def held_by(users: Iterable[User]) -> dict[Pid, str]:
    """Write what each process holds a thing by: `fd 3 4, mapped`; a working directory and the like hold nothing open."""
    numbers: dict[Pid, dict[Role, list[int]]] = {}
    for user in users:
        if user.role in _HELD:
            numbers.setdefault(user.pid, {}).setdefault(user.role, []).append(user.number)
    return {
        pid: ", ".join(_held(role, found[role]) for role in _HELD if role in found)
        for pid, found in numbers.items()
    }


_HELD = (Role.FD, Role.MAPPING, Role.IN_FLIGHT)


def _held(role: Role, numbers: list[int]) -> str:
    if role is Role.MAPPING:
        return "mapped"
    in_order = " ".join(map(str, dict.fromkeys(sorted(numbers))))
    return f"fd {in_order}" if role is Role.FD else f"in flight to fd {in_order}"


_MOST_DETAILS = 40


def shortened(lines: list[str]) -> tuple[str, ...]:
    """Keep a list of details to what a tooltip can show."""
    if len(lines) <= _MOST_DETAILS:
        return tuple(lines)
    return (*lines[:_MOST_DETAILS], f"and {counted(len(lines) - _MOST_DETAILS, 'more', 'more')}")
