"""Manifest and observed facts to a plan: pure, so that a dry run prints the very objects that a rebuild carries out.

What each kind of file needs is what CRIU checks (`open_path`, `validate_file` of files-reg.c; `bind_unix_sk` of sk-unix.c), and what it
does not check but relies on: the content of mapped files, and that hard links stay one inode.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from llmux.criu_images._actions import (
    Conflict,
    MakeDirectory,
    MakeFifo,
    MakeSymlink,
    Plan,
    RemoveStale,
    path_conflict,
)
from llmux.criu_images._compare import Comparison, Likeness
from llmux.criu_images._counted import counted
from llmux.criu_images._facts import Facts, Inode, Seen
from llmux.criu_images._messages_files import FIFO_OTHER, FILE_MISSING, FILE_NOT_DIRECTORY, FILE_OTHER, MODE
from llmux.criu_images._messages_sockets import BIND_TAKEN
from llmux.criu_images._nvidia import is_made_by_driver
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._plan_files import Step, claimed, plan_file
from llmux.criu_images._plan_locks import lock_conflicts
from llmux.criu_images._plan_machine import machine_conflicts, machine_warnings
from llmux.criu_images._plan_metadata import fit_metadata
from llmux.criu_images._plan_nvidia import driver_conflicts, without_driver
from llmux.criu_images._plan_peers import peer_warnings, plan_peers
from llmux.criu_images._policy import DEFAULT, Policy
from llmux.criu_images.manifest import (
    DirectoryEntry,
    FifoEntry,
    FileEntry,
    FreeKind,
    FreeName,
    Manifest,
    NodeEntry,
    Origin,
    SymlinkEntry,
)

_MISSING = Seen()


def make_plan(manifest: Manifest, facts: Facts, policy: Policy = DEFAULT) -> Plan:
    """Work out what to do before a restore of `manifest`'s dump in the place that `facts` describe."""
    driver = tuple(driver_conflicts(manifest, facts))
    steps = list(_steps(without_driver(manifest) if driver else manifest, facts, policy))
    actions = [step for step in steps if not isinstance(step, Conflict | Comparison)]
    compared = tuple(step for step in steps if isinstance(step, Comparison))
    conflicts = [step for step in steps if isinstance(step, Conflict)]
    # What is stale goes first, because its name may be needed; the sort keeps the order of the rest.
    actions.sort(key=lambda action: not isinstance(action, RemoveStale))
    actions, unfit, lost = fit_metadata(actions, facts)
    conflicts += (
        *driver,
        *unfit,
        *lock_conflicts(manifest, facts, actions),
        *machine_conflicts(manifest, facts),
    )
    shared = () if conflicts else _shared_memory(manifest, facts)
    return Plan(
        tuple(actions),
        tuple(conflicts),
        (
            *manifest.warnings,
            *lost,
            *shared,
            *_compatible(compared),
            *machine_warnings(manifest, facts),
            *peer_warnings(manifest),
        ),
        compared,
    )


def _compatible(compared: tuple[Comparison, ...]) -> Iterator[str]:
    yield from (str(one) for one in compared if one.likeness is Likeness.COMPATIBLE)


def leftovers_of(name: FreeName) -> tuple[RawPath, ...]:
    """Return what a restore that failed may have left of a remapped file (`ghost_path`, `open_path` of files-reg.c).

    CRIU puts a ghost into the nearest directory that is there, so each ancestor may hold one.
    """
    if name.kind is FreeKind.SOCKET:
        return ()
    parent, _, base = name.path.rpartition(b"/")
    fake_link = RawPath(name.path + b".cr_link")
    if name.remap_id is None:
        return (fake_link,)
    ghost = base + b".cr.%x.ghost" % name.remap_id
    parts = parent.split(b"/")
    directories = (b"/".join(parts[:count]) for count in range(len(parts), 0, -1))
    return (fake_link, *(RawPath(directory + b"/" + ghost) for directory in directories))


def free_paths(names: tuple[FreeName, ...], facts: Facts) -> tuple[RawPath, ...]:
    """Return those paths of `names` at which nothing is now, so that what an undo finds there is the failed restore's."""
    return tuple(name.path for name in names if _seen(facts, name.path) == _MISSING)


def free_leftovers(names: tuple[FreeName, ...], facts: Facts) -> tuple[RawPath, ...]:
    """Return the leftovers' names of `names` at which nothing is now."""
    paths = (path for name in names for path in leftovers_of(name))
    return tuple(path for path in paths if _seen(facts, path) == _MISSING)


def _steps(manifest: Manifest, facts: Facts, policy: Policy) -> Iterator[Step]:
    for name in manifest.free_names:
        yield from _plan_free_name(name, facts)
    for directory in manifest.directories:
        yield from _plan_directory(directory, _seen(facts, directory.path))
    for symlink in manifest.symlinks:
        yield from _plan_symlink(symlink, _seen(facts, symlink.path))
    yield from _plan_files(manifest, facts, policy)
    for fifo in manifest.fifos:
        yield from _plan_fifo(fifo, _seen(facts, fifo.path))
    for node in manifest.nodes:
        yield from _plan_node(node, _seen(facts, node.path))
    yield from plan_peers(manifest, facts)


def _seen(facts: Facts, path: RawPath) -> Seen:
    return facts.paths.get(path, _MISSING)


def _obstacle(path: RawPath, seen: Seen) -> Iterator[Conflict]:
    if seen.obstacle is not None:
        yield path_conflict(path, f"cannot be reached: {seen.obstacle}", None, "Clear the way to it.")


def _plan_free_name(name: FreeName, facts: Facts) -> Iterator[Step]:
    seen = _seen(facts, name.path)
    yield from _obstacle(name.path, seen)
    if name.kind is FreeKind.SOCKET and seen.inode is not None and not stat.S_ISSOCK(seen.inode.mode):
        yield path_conflict(
            name.path,
            f"a {seen.inode.kind} is where the restore binds a socket",
            BIND_TAKEN.say(name="/{}"),
            "Move it away.",
        )
    for path in leftovers_of(name):
        inode = _seen(facts, path).inode
        if inode is None or stat.S_ISDIR(inode.mode):
            continue
        owner = facts.claimant(path, inode)
        if owner is not None:
            yield claimed(path, owner, "File exists")
        else:
            yield RemoveStale(path, inode.identity, "left by a restore that failed")


def _plan_directory(entry: DirectoryEntry, seen: Seen) -> Iterator[Step]:
    action = MakeDirectory(entry, f"{entry.reason}; missing here")
    yield from _make_or_check(
        action, "directory", FILE_NOT_DIRECTORY.say(path="{}"), entry.demanded_mode, seen
    )


def _make_or_check(
    action: MakeDirectory | MakeFifo, kind: str, criu_says: str, demanded_mode: int | None, seen: Seen
) -> Iterator[Step]:
    """Make a node that is missing; compare one that is there."""
    yield from _obstacle(action.path, seen)
    if seen.obstacle is not None:
        return
    if seen.inode is None:
        yield action
    elif seen.inode.kind != kind:
        found = f"a {seen.inode.kind}, the dump has a {kind} here"
        yield path_conflict(action.path, found, criu_says, "Move it away.")
    else:
        yield from _mode_conflict(action.path, seen.inode, demanded_mode)


def _mode_conflict(path: RawPath, inode: Inode, demanded: int | None) -> Iterator[Conflict]:
    if demanded is not None and inode.mode != demanded:
        yield path_conflict(
            path,
            f"has mode 0{inode.mode:o}, the dump has 0{demanded:o}",
            MODE.say(path="{}", mode=f"0{inode.mode:o}", expected_mode=f"0{demanded:o}"),
            f"Run `chmod {stat.S_IMODE(demanded):o}` on it if that is right here.",
        )


def _plan_symlink(entry: SymlinkEntry, seen: Seen) -> Iterator[Step]:
    yield from _obstacle(entry.path, seen)
    if seen.obstacle is not None:
        return
    inode, says = seen.inode, f"the dump has a symbolic link to {escape(entry.target)} here"
    if inode is None:
        yield MakeSymlink(entry, f"{entry.reason}; missing here")
    elif not stat.S_ISLNK(inode.mode):
        yield path_conflict(entry.path, f"a {inode.kind}, {says}", None, "Move it away.")
    elif seen.target not in {None, entry.target}:
        found = f"a symbolic link to {escape(seen.target or b'')}, {says}"
        yield path_conflict(entry.path, found, None, "Lay the link as it was, if that is right here.")


def _plan_fifo(entry: FifoEntry, seen: Seen) -> Iterator[Step]:
    action = MakeFifo(entry, f"{entry.reason}; missing here")
    yield from _make_or_check(action, "fifo", FIFO_OTHER.say(), entry.metadata.mode, seen)


def _plan_node(entry: NodeEntry, seen: Seen) -> Iterator[Step]:
    yield from _obstacle(entry.path, seen)
    if seen.obstacle is not None:
        return
    inode = seen.inode
    if inode is None:
        yield path_conflict(
            entry.path,
            "missing",
            FILE_MISSING.say(path="{}"),
            "Give the container the node's GPUs (docker run --gpus all)."
            if is_made_by_driver(entry.path)
            else "Start the container with this device or kernel file.",
        )
    elif stat.S_IFMT(inode.mode) != stat.S_IFMT(entry.mode) or _is_other_device(entry, inode):
        yield path_conflict(
            entry.path,
            f"another node ({inode.kind})",
            FILE_OTHER.say(path="{}"),
            "Start the container with the dump's device.",
        )
    else:
        yield from _mode_conflict(entry.path, inode, entry.demanded_mode)


def _is_other_device(entry: NodeEntry, inode: Inode) -> bool:
    """Compare the numbers, but for NVIDIA's: each node gives nvidia-uvm and nvidia-caps a major number of its own, and CRIU compares none."""
    return inode.rdev != entry.rdev and not is_made_by_driver(entry.path)


def _plan_files(manifest: Manifest, facts: Facts, policy: Policy) -> Iterator[Step]:
    """Plan each file; those missing with a whole volume become one conflict about the volume."""
    here = {mount.mountpoint for mount in facts.mounts}
    lacking: dict[RawPath, int] = {}
    for file in manifest.files:
        if _lost_with_volume(file, facts, here):
            lacking[file.mount] = lacking.get(file.mount, 0) + 1
        else:
            yield from plan_file(file, facts, policy)
    for mountpoint, count in lacking.items():
        yield path_conflict(
            mountpoint,
            f"nothing is mounted here, and {counted(count, 'file')} of the dump should be on it",
            FILE_MISSING.say(path="{}"),
            "Start the container with this volume.",
        )


def _shared_memory(manifest: Manifest, facts: Facts) -> Iterator[str]:
    for file in manifest.files:
        if file.written and any(_seen(facts, name).held for name in file.names):
            yield f"{escape(file.names[0])} is open in another process, and the restored tree will share it"


def _lost_with_volume(file: FileEntry, facts: Facts, here: set[RawPath]) -> bool:
    missing = any(_seen(facts, name) == _MISSING for name in file.names)
    return file.carried is None and file.origin is Origin.VOLUME and missing and file.mount not in here
