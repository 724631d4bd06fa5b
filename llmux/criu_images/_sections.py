"""The parts of a report, as `--kind` names them, and which of them a path belongs to."""

from __future__ import annotations

import enum

from llmux.criu_images._inventory import PathKind, PathReference


class Section(enum.Enum):
    """A part of a report; the values are what `--kind` takes."""

    TASK = "task"
    DESCRIPTOR = "descriptor"
    MAPPING = "mapping"
    UNIX = "unix"
    INET = "inet"
    REMAP = "remap"
    SHM = "shm"
    FIFO = "fifo"
    WATCH = "watch"
    FILE = "file"
    OTHER = "other"
    RIGHT = "right"
    TIMER = "timer"
    CGROUP = "cgroup"
    NAMESPACE = "namespace"
    ID = "id"
    NEED = "need"

    __hash__ = object.__hash__  # That of Enum is a function of Python; each path is looked up by its section.


_SECTION_OF = {
    PathKind.LINK_REMAP: Section.REMAP,
    PathKind.LINKED_NAME: Section.REMAP,
    PathKind.GHOST_NAME: Section.REMAP,
    PathKind.FIFO: Section.FIFO,
    PathKind.WATCHED: Section.WATCH,
    PathKind.SOCKET: Section.UNIX,
    PathKind.DELETED_SOCKET: Section.UNIX,
    PathKind.EXTERNAL_SOCKET: Section.UNIX,
}

_SHARED_MEMORY = b"/dev/shm/"


def sections_of(reference: PathReference) -> frozenset[Section]:
    """Tell where a path belongs; a link remap or ghost in /dev/shm belongs in two places."""
    own = _SECTION_OF.get(reference.kind, Section.FILE)
    if reference.path.startswith(_SHARED_MEMORY) and (own is Section.FILE or own is Section.REMAP):
        return _IN_SHARED_MEMORY[own]
    return _ALONE[own]


_ALONE = {section: frozenset({section}) for section in Section}
_IN_SHARED_MEMORY = {
    Section.FILE: frozenset({Section.SHM}),
    Section.REMAP: frozenset({Section.REMAP, Section.SHM}),
}
