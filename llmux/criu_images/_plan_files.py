"""The plan of one regular file: keep it, place it, link it, mask it, or refuse."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from llmux.criu_images._actions import Action, Conflict, MaskWithCopy, PlaceFile, RemoveStale, path_conflict
from llmux.criu_images._facts import Facts, Inode, Seen
from llmux.criu_images._paths import RawPath
from llmux.criu_images._words import counted
from llmux.criu_images.manifest import FileEntry, Origin

Step: TypeAlias = Action | Conflict

_LEFT = "left in memory by an earlier restore, changed since, and no process has it open"
_OWN_MEMORY = "restore in a mount namespace with a tmpfs of its own there"
_NOT_FOUND = "Can't open file {} on restore: No such file or directory"
_NOT_LINKED = "Can't link {}"
_UNKNOWN_REMAP = f"Remove it if no other restore or dump is under way that uses it, or {_OWN_MEMORY}."
_Present: TypeAlias = Mapping[RawPath, tuple[Inode, Seen]]


def plan_file(entry: FileEntry, facts: Facts) -> Iterator[Step]:
    """Plan one file with all its names."""
    seen = {name: facts.paths.get(name, Seen()) for name in entry.names}
    blocked = list(_blocked(seen))
    present = {name: (one.inode, one) for name, one in seen.items() if one.inode is not None}
    if blocked:
        yield from blocked
    elif entry.carried is None:
        yield from _check_kept(entry, present)
    else:
        left = _left_in_memory(entry, present, facts)
        yield from (RemoveStale(name, present[name][0].identity, _LEFT, unused=True) for name in left)
        present = {name: one for name, one in present.items() if name not in left}
        if entry.consumed:
            yield from _plan_group(entry, present, facts)
        else:
            yield from _plan_carried(entry, present, facts)


def _blocked(seen: Mapping[RawPath, Seen]) -> Iterator[Conflict]:
    for name, one in seen.items():
        if one.obstacle is not None:
            yield path_conflict(name, f"cannot be reached: {one.obstacle}", None, "Clear the way to it.")
        elif one.inode is not None and not stat.S_ISREG(one.inode.mode):
            found = f"a {one.inode.kind}, the dump has a regular file here"
            yield path_conflict(name, found, "Can't open file {}", "Move it away.")


def _left_in_memory(entry: FileEntry, present: _Present, facts: Facts) -> list[RawPath]:
    """Return the names of what an earlier restore has left, if that is all that differs: made by a rebuild, and used by nobody now.

    Only in memory: a changed file on a disk may hold what somebody wants.
    """
    wrong = [
        name
        for name, (inode, seen) in sorted(present.items())
        if name not in entry.consumed and any(_differences(entry, name, inode, seen, ""))
    ]
    ours = all(
        (name, present[name][0].born) in facts.made and present[name][1].held is False for name in wrong
    )
    return wrong if ours else []


def _check_kept(entry: FileEntry, present: _Present) -> Iterator[Conflict]:
    """Check a file of the image or of a volume, which is never made."""
    source = "the image" if entry.origin is Origin.IMAGE else "the volume"
    for name in entry.names:
        if name not in present:
            yield path_conflict(
                name, "missing", _NOT_FOUND, f"Start the container with {source} that the dump was made with."
            )
        else:
            yield from _differences(entry, name, *present[name], f"Use {source} that the dump was made with.")


def _plan_carried(entry: FileEntry, present: _Present, facts: Facts) -> Iterator[Step]:
    if not present:
        yield PlaceFile(entry, entry.names, None, f"{entry.reason}; missing here")
        return
    differences = [
        conflict
        for name, (inode, seen) in present.items()
        for conflict in _differences(entry, name, inode, seen, _advice(seen))
    ]
    if differences and _can_mask(entry, present, facts):
        yield MaskWithCopy(entry, "changed since the dump; the restored tree gets a copy of its own")
    elif differences:
        yield from differences
    else:
        yield from _join(entry, present)


def _can_mask(entry: FileEntry, present: _Present, facts: Facts) -> bool:
    """Tell whether only the content differs, of a file that the tree writes to, where a mount is the tree's own affair."""
    return (
        facts.private_mounts
        and entry.written
        and len(entry.names) == 1
        and not _on_shared_mount(present, facts)
        and all(not _wrong_mode(entry, inode) for inode, _ in present.values())
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
    claims = [claimed(name, facts.claimed[name], _NOT_LINKED) for name in remaps if name in facts.claimed]
    whole = len(present) == len(entry.names) and len(_identities(present)) == 1
    if claims:
        yield from claims
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


def claimed(name: RawPath, journal: str, criu_says: str) -> Conflict:
    """Say that another restore has made `name`, or is about to."""
    return path_conflict(
        name,
        f"made for another restore that is not over (its journal is {journal})",
        criu_says,
        f"Wait for it, or `undo` it if it has failed; or {_OWN_MEMORY}.",
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
    return [
        conflict
        for name, (inode, seen) in present.items()
        for conflict in _differences(entry, name, inode, seen, _advice(seen))
    ]


def _advice(seen: Seen) -> str:
    match seen.held:
        case True:
            return f"A process has it open: stop that one and remove the file, or {_OWN_MEMORY}."
        case False:
            return f"No process has it open: remove it if nobody needs it, or {_OWN_MEMORY}."
        case None:
            return "Move it away if nobody needs it."


def _differences(
    entry: FileEntry, name: RawPath, inode: Inode, seen: Seen, advice: str
) -> Iterator[Conflict]:
    """Compare what CRIU compares, in its order, and then the content; the first difference is enough."""
    if entry.demanded_size is not None and inode.size != entry.demanded_size:
        found = f"has {counted(inode.size, 'byte')}, the dump has {entry.demanded_size}"
        criu = f"File {{}} has bad size {inode.size} (expect {entry.demanded_size})"
        yield path_conflict(name, found, criu, advice)
    elif _wrong_mode(entry, inode):
        mode = entry.demanded_mode or 0
        found = f"has mode 0{inode.mode:o}, the dump has 0{mode:o}"
        yield path_conflict(name, found, f"File {{}} has bad mode 0{inode.mode:o} (expect 0{mode:o})", advice)
    elif _other_build(entry, inode, seen):
        yield path_conflict(
            name, "is of another build (its build-id differs)", "File {} has bad build-ID", advice
        )
    elif _other_content(entry, seen):
        yield path_conflict(name, "has other content than in the dump", None, advice)


def _wrong_mode(entry: FileEntry, inode: Inode) -> bool:
    return entry.demanded_mode is not None and inode.mode != entry.demanded_mode


def _other_build(entry: FileEntry, inode: Inode, seen: Seen) -> bool:
    """Compare build-ids; an unchanged modification time is taken for the very file of the same image."""
    if entry.build_id is None or entry.carried is not None or inode.mtime_ns == entry.metadata.mtime_ns:
        return False
    # CRIU stores a build-id in whole words, padded.
    return seen.build_id is None or not entry.build_id.startswith(seen.build_id)


def _other_content(entry: FileEntry, seen: Seen) -> bool:
    """Without a demanded size the file is only appended to: what it says does not matter to the tree."""
    return entry.demanded_size is not None and entry.digest is not None and seen.digest != entry.digest
