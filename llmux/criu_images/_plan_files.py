"""The plan of one regular file: keep it, place it, link it, mask it, or refuse.

What is here and differs is refused unless a rule of the policy says otherwise, or the tree writes to it and a copy can be mounted over it for the tree alone.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from llmux.criu_images._actions import Action, Conflict, MaskWithCopy, PlaceFile, RemoveStale, path_conflict
from llmux.criu_images._compare import Comparison, Likeness, compare, has_grown
from llmux.criu_images._facts import Facts, Inode, Seen
from llmux.criu_images._messages_files import (
    FILE_IS_DIRECTORY,
    FILE_MISSING,
    FILE_OTHER,
    REMAP_GONE,
)
from llmux.criu_images._paths import RawPath
from llmux.criu_images._policy import DEFAULT, Candidate, Change, Policy, Rule, Verb
from llmux.criu_images.manifest import FileEntry, Origin

Step: TypeAlias = Action | Conflict | Comparison

_LEFT = "left in memory by an earlier restore, changed since, and no process has it open"
_OWN_MEMORY = "restore in a mount namespace with a tmpfs of its own there"
_OWN_MOUNTS = "restore in a mount namespace of the tree's own"
_NOT_FOUND = FILE_MISSING.say(path="{}")
_NOT_LINKED = "Can't link {}"
_UNKNOWN_REMAP = f"Remove it if no other restore or dump is under way that uses it, or {_OWN_MEMORY}."
_Present: TypeAlias = Mapping[RawPath, tuple[Inode, Seen]]


def plan_file(entry: FileEntry, facts: Facts, policy: Policy = DEFAULT) -> Iterator[Step]:
    """Plan one file with all its names."""
    seen = {name: facts.paths.get(name, Seen()) for name in entry.names}
    blocked = list(_blocked(seen))
    present = {name: (one.inode, one) for name, one in seen.items() if one.inode is not None}
    if blocked:
        yield from blocked
    elif entry.carried is None:
        yield from _check_kept(entry, present, policy)
    else:
        left = _left_in_memory(entry, present, facts)
        yield from (RemoveStale(name, present[name][0].identity, _LEFT, unused=True) for name in left)
        present = {name: one for name, one in present.items() if name not in left}
        if entry.consumed:
            yield from _plan_group(entry, present, facts)
        else:
            yield from _plan_carried(entry, present, facts, policy)


def _blocked(seen: Mapping[RawPath, Seen]) -> Iterator[Conflict]:
    for name, one in seen.items():
        if one.obstacle is not None:
            yield path_conflict(name, f"cannot be reached: {one.obstacle}", None, "Clear the way to it.")
        elif one.inode is not None and not stat.S_ISREG(one.inode.mode):
            found = f"a {one.inode.kind}, the dump has a regular file here"
            wrong = FILE_IS_DIRECTORY if stat.S_ISDIR(one.inode.mode) else FILE_OTHER
            yield path_conflict(name, found, wrong.say(path="{}"), "Move it away.")


def _left_in_memory(entry: FileEntry, present: _Present, facts: Facts) -> list[RawPath]:
    """Return the names of what an earlier restore has left, if that is all that differs: made by a rebuild, and used by nobody now.

    Only in memory: a changed file on a disk may hold what somebody wants.
    """
    wrong = [
        name
        for name, (inode, seen) in sorted(present.items())
        if name not in entry.consumed and _differs(compare(entry, name, inode, seen))
    ]
    ours = all(
        (name, present[name][0].born) in facts.made and present[name][1].held is False for name in wrong
    )
    return wrong if ours else []


_SOURCES = {
    Origin.IMAGE: "Start the container with the image that the dump was made with.",
    Origin.VOLUME: "Start the container with the volume that the dump was made with.",
    Origin.NODE: "The node's driver is of the right version: give the container its libraries (docker run --gpus all, NVIDIA_DRIVER_CAPABILITIES=all).",
    Origin.RUN_TIME: "The capture's policy left it: put the dump's file here.",
}


def _check_kept(entry: FileEntry, present: _Present, policy: Policy) -> Iterator[Step]:
    """Check a file that is never made, because it is of the image or of a volume, or a rule has left it."""
    advice = _SOURCES[entry.origin]
    for name in entry.names:
        if name not in present:
            yield path_conflict(name, "missing", _NOT_FOUND, advice)
            continue
        found = compare(entry, name, *present[name])
        rule = policy.at_rebuild(_candidate(entry, present)) if _differs(found) else None
        yield found if rule is None else _accepted(found, rule)
        if _differs(found) and not _accepts(rule, found):
            yield _conflict(found, _advice_by(rule, advice, "but nothing of it was carried"))


def _plan_carried(entry: FileEntry, present: _Present, facts: Facts, policy: Policy) -> Iterator[Step]:
    if not present:
        yield PlaceFile(entry, entry.names, None, f"{entry.reason}; missing here")
        return
    found = [compare(entry, name, *one) for name, one in present.items()]
    if not any(map(_differs, found)):
        yield from _join(entry, present)
        return
    rule = policy.at_rebuild(_candidate(entry, present))
    match Verb.MASK if rule is None and entry.written else (rule and rule.verb):
        case Verb.MASK if _can_mask(entry, present, facts):
            reason = "changed since the dump; the restored tree gets a copy of its own"
            yield MaskWithCopy(entry, reason if rule is None else f"{reason}; policy: {rule}")
        case Verb.KEEP if all(_accepts(rule, one) for one in found):
            yield from (_accepted(one, rule) for one in found if rule and _differs(one))
        case _:
            yield from _refuse(entry, present, rule)


def _refuse(entry: FileEntry, present: _Present, rule: Rule | None) -> Iterator[Conflict]:
    for name, (inode, seen) in present.items():
        found = compare(entry, name, inode, seen)
        if _differs(found):
            why = f"but it can't here: {_OWN_MEMORY if seen.held is not None else _OWN_MOUNTS}"
            yield _conflict(found, _advice_by(rule, _advice(seen), why))


def _differs(found: Comparison) -> bool:
    return found.likeness in {Likeness.REFUSED, Likeness.OTHER_CONTENT}


def _accepts(rule: Rule | None, found: Comparison) -> bool:
    """Tell whether a rule keeps what CRIU accepts, too."""
    return not _differs(found) or (
        rule is not None and rule.verb is Verb.KEEP and found.likeness is Likeness.OTHER_CONTENT
    )


def _accepted(found: Comparison, rule: Rule) -> Comparison:
    if not _accepts(rule, found):
        return found
    return replace(found, likeness=Likeness.COMPATIBLE, found=f"{found.found}; policy: {rule}")


def _advice_by(rule: Rule | None, advice: str, why_not: str) -> str:
    """Say why a rule that fits has not helped."""
    match rule.verb if rule else None:
        case Verb.KEEP:
            return f"The rule `{rule}` would keep it, but CRIU would not accept it. {advice}"
        case Verb.MASK:
            return f"The rule `{rule}` would mask it, {why_not}. {advice}"
        case _:
            return advice


def _candidate(entry: FileEntry, present: _Present) -> Candidate:
    grown = all(has_grown(entry, inode, seen) for inode, seen in present.values())
    change = Change.GROWN if grown else Change.OTHER
    return Candidate(entry.names, entry.origin, entry.size, entry.written, change)


def _can_mask(entry: FileEntry, present: _Present, facts: Facts) -> bool:
    """Tell whether only the content differs, of a file of one name, where a mount is the tree's own affair."""
    modes = {inode.mode for inode, _ in present.values()}
    return (
        facts.private_mounts
        and len(entry.names) == 1
        and not _on_shared_mount(present, facts)
        and (entry.demanded_mode is None or modes == {entry.demanded_mode})
    )


def _on_shared_mount(present: _Present, facts: Facts) -> bool:
    mounts = {inode.mount for inode, _ in present.values()}
    return any(mount.shared for mount in facts.mounts if mount.id in mounts)


def _plan_group(entry: FileEntry, present: _Present, facts: Facts) -> Iterator[Step]:
    """Plan a link remap with its partners: CRIU links the lost name from it, and whoever opens the partner's name must get the same inode.

    Every dump that has a file of this number calls it so. Only what this dump's own rebuild has made is stale; another's may be used any moment.
    """
    partners = {name: present[name] for name in present if name not in entry.consumed}
    remaps = {name: present[name] for name in sorted(present.keys() & set(entry.consumed))}
    claims = [claimed(name, owner, _NOT_LINKED) for name, owner in _claimants(remaps, facts)]
    whole = len(present) == len(entry.names) and len(_identities(present)) == 1
    if claims:
        yield from claims
        return
    if entry.names[0] in facts.kept:
        yield _kept(entry)
        return
    if whole and not _all_differences(entry, present):
        return
    for name, (inode, _) in remaps.items():
        if (name, inode.born) in facts.own:
            yield RemoveStale(
                name, inode.identity, "made for an earlier restore, and without its other names now"
            )
        else:
            yield path_conflict(
                name, "not the dump's link remap, or without its other names", _NOT_LINKED, _UNKNOWN_REMAP
            )
    differences = _all_differences(entry, partners)
    if differences:
        yield from differences
    elif partners:
        yield from _join(entry, partners)
    else:
        yield PlaceFile(entry, entry.names, None, f"{entry.reason}; missing here")


def _claimants(remaps: _Present, facts: Facts) -> Iterator[tuple[RawPath, str]]:
    for name, (inode, _) in remaps.items():
        owner = facts.claimant(name, inode)
        if owner is not None:
            yield name, owner


def claimed(name: RawPath, journal: str, criu_says: str) -> Conflict:
    """Say that another restore has made `name`, or is about to."""
    return path_conflict(
        name,
        f"made for another restore that is not over (its journal is {journal})",
        criu_says,
        f"Wait for it, or `undo` it if it has failed; or {_OWN_MEMORY}.",
    )


def _kept(entry: FileEntry) -> Conflict:
    return path_conflict(
        entry.consumed[0],
        "another restore that is not over uses it, in this container or in one that shares its directory",
        REMAP_GONE.say(path="/{}", errno="ENOENT"),
        f"Wait for it, or {_OWN_MEMORY}.",
    )


def _join(entry: FileEntry, present: _Present) -> Iterator[Step]:
    """Give an inode that is here and right the names it lacks."""
    first, *others = sorted(present)
    if len(_identities(present)) > 1:
        yield path_conflict(
            first,
            f"another file than {len(others)} other names that are hard links of it in the dump",
            None,
            "Move all of them away if nobody needs them.",
        )
        return
    lacking = tuple(name for name in entry.names if name not in present)
    if lacking:
        reason = "a hard link in the dump; this name of it is missing here"
        yield PlaceFile(entry, lacking, first, reason, present[first][0].identity)


def _identities(present: _Present) -> set[tuple[int, int]]:
    return {inode.identity for inode, _ in present.values()}


def _all_differences(entry: FileEntry, present: _Present) -> list[Conflict]:
    return list(_refuse(entry, present, None))


def _advice(seen: Seen) -> str:
    match seen.held:
        case True:
            return f"A process has it open: stop that one and remove the file, or {_OWN_MEMORY}."
        case False:
            return f"No process has it open: remove it if nobody needs it, or {_OWN_MEMORY}."
        case None:
            return "Move it away if nobody needs it."


def _conflict(found: Comparison, advice: str) -> Conflict:
    return path_conflict(found.path, found.found, found.criu_says, advice)
