"""What a rebuild may do, and what can stand in a restore's way: the words a plan is written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from llmux.criu_images._compare import Comparison
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images.manifest import DirectoryEntry, FifoEntry, FileEntry, Metadata, SymlinkEntry


@dataclass(frozen=True, slots=True)
class RemoveStale:
    """Unlink a name that only a restore of this very dump makes, and that an earlier one left."""

    path: RawPath
    identity: tuple[int, int]
    """Device and inode number of what was seen; nothing else is unlinked."""
    reason: str
    unused: bool = False
    """Only if nobody has it open at that moment."""


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    entry: DirectoryEntry
    reason: str

    @property
    def path(self) -> RawPath:
        return self.entry.path


@dataclass(frozen=True, slots=True)
class MakeSymlink:
    entry: SymlinkEntry
    reason: str

    @property
    def path(self) -> RawPath:
        return self.entry.path


@dataclass(frozen=True, slots=True)
class MakeFifo:
    entry: FifoEntry
    reason: str

    @property
    def path(self) -> RawPath:
        return self.entry.path


@dataclass(frozen=True, slots=True)
class PlaceFile:
    """Make one inode with all of `names`, or link `names` to the inode that `existing` already is."""

    entry: FileEntry
    names: tuple[RawPath, ...]
    existing: RawPath | None
    reason: str
    identity: tuple[int, int] | None = None
    """Device and inode number of what was seen at `existing`; nothing else gets the names."""

    @property
    def path(self) -> RawPath:
        return self.names[0]


@dataclass(frozen=True, slots=True)
class MaskWithCopy:
    """Mount the recorded content over a file that has changed since, for this mount namespace alone."""

    entry: FileEntry
    reason: str

    @property
    def path(self) -> RawPath:
        return self.entry.names[0]


@dataclass(frozen=True, slots=True)
class HoldBindPoint:
    """Have a process hold a datagram socket at a name to which the tree's sockets connect, until `finish` or `undo`."""

    name: RawPath
    """A path, or an abstract name, which begins with NUL."""
    metadata: Metadata | None
    """Of the socket's node at the capture, where there was one to see."""
    reason: str

    @property
    def path(self) -> RawPath:
        return self.name

    @property
    def abstract(self) -> bool:
        return self.name.startswith(b"\0")


Action: TypeAlias = (
    RemoveStale | MakeDirectory | MakeSymlink | MakeFifo | PlaceFile | MaskWithCopy | HoldBindPoint
)

_VERBS: Mapping[type[Action], str] = {
    RemoveStale: "remove stale",
    MakeDirectory: "make directory",
    MakeSymlink: "make symbolic link",
    MakeFifo: "make fifo",
    PlaceFile: "place file",
    MaskWithCopy: "mask with copy",
    HoldBindPoint: "hold",
}


def verb_of(action: Action) -> str:
    """Return what an action does, in two or three words that stay the same between releases."""
    return _VERBS[type(action)]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why a restore here and now would fail, or go wrong without a word."""

    subject: str
    """The path (escaped), `id 4711`, `port 8001`, `abstract socket NAME`, `processor`, `NVIDIA driver` or `GPU KIND`."""
    found: str
    criu_says: str | None
    """The message of a restore that runs into it; None where CRIU would not notice."""
    advice: str

    def __str__(self) -> str:
        criu = f' (CRIU: "{self.criu_says}")' if self.criu_says else ""
        return f"{self.subject}: {self.found}{criu}. {self.advice}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rebuild would do here, in order, and why it must not, if there are conflicts."""

    actions: tuple[Action, ...]
    conflicts: tuple[Conflict, ...]
    warnings: tuple[str, ...] = ()
    compared: tuple[Comparison, ...] = ()
    """Each file that is not made here but must be here, and how it compares."""


def path_conflict(path: RawPath, found: str, criu_says: str | None, advice: str) -> Conflict:
    """Make a conflict about a path; `{}` in `criu_says` becomes the path as CRIU prints it, without its first slash."""
    said = None if criu_says is None else criu_says.format(escape(path[1:]))
    return Conflict(escape(path), found, said, advice)
