"""What of a file's metadata cannot be kept where it is to be made: said before anything is made, and left out of what is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from llmux.criu_images._actions import (
    Action,
    Conflict,
    MakeDirectory,
    MakeFifo,
    MakeSymlink,
    PlaceFile,
    path_conflict,
)
from llmux.criu_images._facts import Facts, Unheld
from llmux.criu_images._paths import escape
from llmux.criu_images.manifest import Metadata

_ACL = b"system.posix_acl_access"


def fit_metadata(actions: Iterable[Action], facts: Facts) -> tuple[list[Action], list[Conflict], list[str]]:
    """Return the actions as this place can carry them out, what must not be left out, and what is."""
    fitted: list[Action] = []
    conflicts: list[Conflict] = []
    warnings: list[str] = []
    for action in actions:
        unheld = facts.unheld.get(action.path)
        if unheld is None:
            fitted.append(action)
        elif _ACL in unheld.xattrs:
            # Without the list the mode's group bits, which were its mask, would let the owning group in.
            conflicts.append(
                path_conflict(
                    action.path,
                    "has a POSIX ACL in the dump, and the file system here keeps none",
                    None,
                    "Mount one that does, as tmpfs, ext4 and xfs do.",
                )
            )
        else:
            fitted.append(_without(action, unheld))
            warnings.append(
                f"{escape(action.path)} is made without {_named(unheld)}: the file system here refuses that"
            )
    return fitted, conflicts, warnings


def _named(unheld: Unheld) -> str:
    words = [escape(name) for name in sorted(unheld.xattrs)]
    return " and ".join([*words, *(["its flags of chattr(1)"] if unheld.flags else [])])


def _without(action: Action, unheld: Unheld) -> Action:
    match action:
        case MakeDirectory(entry) | MakeFifo(entry) | MakeSymlink(entry) | PlaceFile(entry):
            lighter = entry.model_copy(update={"metadata": _lighter(entry.metadata, unheld)})
            return replace(action, entry=lighter)  # type: ignore[arg-type] # the entry's own type
        case _:
            return action


def _lighter(metadata: Metadata, unheld: Unheld) -> Metadata:
    xattrs = tuple(xattr for xattr in metadata.xattrs if xattr.name not in unheld.xattrs)
    return metadata.model_copy(update={"xattrs": xattrs, "flags": 0 if unheld.flags else metadata.flags})
