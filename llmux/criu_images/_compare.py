"""How a file that is here compares with the recorded one: the same, another that CRIU accepts, or one that it refuses or that would go wrong.

CRIU compares size, mode and build-id (`validate_file` of files-reg.c), and takes the pages that a process only read from the file. So other bytes under the
right size and build-id are worse than a refusal, and a conflict unless a rule says that they are fine.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, datetime

from llmux.criu_images._counted import counted
from llmux.criu_images._facts import Inode, Seen
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images.manifest import FileEntry, Origin


class Likeness(enum.Enum):
    """What a comparison comes to."""

    SAME = "same"
    COMPATIBLE = "compatible"
    """CRIU accepts it, and whether it is right is for whoever reads the warning."""
    REFUSED = "refused by CRIU"
    OTHER_CONTENT = "other content"
    """CRIU accepts it, and the restored tree would read what it did not read before."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One path of the dump that is not made here, against what is there."""

    path: RawPath
    likeness: Likeness
    found: str
    criu_says: str | None = None
    """Where CRIU refuses it; `{}` stands for the path as CRIU prints it."""

    def __str__(self) -> str:
        return f"{escape(self.path)}: {self.found}"


def compare(entry: FileEntry, name: RawPath, inode: Inode, seen: Seen) -> Comparison:
    """Compare what CRIU compares, in its order, and then the content; the first difference is enough."""
    refused = _refusal(entry, inode, seen)
    if refused is not None:
        return Comparison(name, Likeness.REFUSED, *refused)
    return Comparison(name, *_content(entry, inode, seen))


def is_very_file(entry: FileEntry, inode: Inode) -> bool:
    """Tell whether this is the captured inode itself, of the same image layer or volume, and unchanged.

    The kernel sets the time of the last change, nobody else does, so there is no need to read the file.
    """
    return (
        entry.ctime_ns is not None
        and (entry.inode, entry.ctime_ns) == (inode.number, inode.ctime_ns)
        and (entry.size, entry.metadata.mtime_ns) == (inode.size, inode.mtime_ns)
    )


def has_grown(entry: FileEntry, inode: Inode, seen: Seen) -> bool:
    """Tell whether the recorded content is here, and more after it."""
    return inode.size > entry.size and entry.digest is not None and seen.digest == entry.digest


def _refusal(entry: FileEntry, inode: Inode, seen: Seen) -> tuple[str, str] | None:
    """Return what is wrong with it in our words and in CRIU's."""
    if entry.demanded_size is not None and inode.size != entry.demanded_size:
        found = f"has {counted(inode.size, 'byte')}, the dump has {entry.demanded_size}{_age(entry, inode)}"
        return found, f"File {{}} has bad size {inode.size} (expect {entry.demanded_size})"
    mode = entry.demanded_mode
    if mode is not None and inode.mode != mode:
        found = f"has mode 0{inode.mode:o}, the dump has 0{mode:o}"
        return found, f"File {{}} has bad mode 0{inode.mode:o} (expect 0{mode:o})"
    if _other_build(entry, seen):
        found = f"is of another build (its build-id is {seen.build_id}, the dump's {entry.build_id}){_age(entry, inode)}"
        return found, "File {} has bad build-ID"
    return None


def _other_build(entry: FileEntry, seen: Seen) -> bool:
    """CRIU stores a build-id in whole words, padded; where the file here has none, it compares nothing."""
    if entry.build_id is None or seen.build_id is None:
        return False
    return not entry.build_id.startswith(seen.build_id)


def _content(entry: FileEntry, inode: Inode, seen: Seen) -> tuple[Likeness, str]:
    if entry.demanded_size is None:
        return _appended(entry, inode)
    if is_very_file(entry, inode):
        return Likeness.SAME, "the captured file itself"
    return _undigested(entry, inode, seen) if entry.digest is None else _digested(entry, inode, seen)


def _appended(entry: FileEntry, inode: Inode) -> tuple[Likeness, str]:
    """Without a demanded size the file is only appended to: what it says does not matter to the tree."""
    if inode.size == entry.size:
        return Likeness.SAME, "only appended to"
    return Likeness.COMPATIBLE, "has another length; the tree only appends to it, and CRIU compares none"


def _digested(entry: FileEntry, inode: Inode, seen: Seen) -> tuple[Likeness, str]:
    if seen.digest == entry.digest:
        return Likeness.SAME, "of the same content"
    build = " under the same build-id" if entry.build_id and seen.build_id else ""
    return Likeness.OTHER_CONTENT, f"has other content than in the dump{build}{_age(entry, inode)}"


def _undigested(entry: FileEntry, inode: Inode, seen: Seen) -> tuple[Likeness, str]:
    if entry.build_id is not None and seen.build_id is None:
        return Likeness.OTHER_CONTENT, "has no build-id, and the dump's has one"
    if entry.origin is Origin.NODE:
        return Likeness.SAME, "of the same version of NVIDIA's driver"
    if inode.mtime_ns == entry.metadata.mtime_ns:
        return Likeness.SAME, "of the same size, mode and time"
    build = ", mode and build-id" if entry.build_id else " and mode"
    return Likeness.COMPATIBLE, (
        f"compatible: CRIU will accept its size{build}, but it was not digested at the capture{_age(entry, inode)}, and pages that the tree "
        "only read come from it"
    )


def _age(entry: FileEntry, inode: Inode) -> str:
    """Say which of the two is newer, by their times of modification."""
    recorded = entry.metadata.mtime_ns
    if inode.mtime_ns == recorded:
        return ""
    word = "older" if inode.mtime_ns < recorded else "newer"
    return f"; {word} (of {_day(inode.mtime_ns)}, the dump's of {_day(recorded)})"


def _day(time_ns: int) -> str:
    try:
        return datetime.fromtimestamp(time_ns // 10**9, UTC).isoformat(sep=" ")[:19]
    except (OverflowError, ValueError, OSError):
        return f"{time_ns} ns"
