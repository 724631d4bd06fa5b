"""Why a dump refers to a path: each way in which it does, who does, and what `criu restore` will do there.

What a restore does is said in words, with the function of CRIU that does it and the messages that it prints when it can't.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from llmux.criu_images._counted import counted
from llmux.criu_images._enums import RemapType
from llmux.criu_images._inventory import Inventory, PathKind, PathReference, socket_path
from llmux.criu_images._paths import RawPath, escape
from llmux.criu_images._records import (
    Descriptor,
    Dump,
    FileId,
    Mapping,
    Pid,
    RegularFile,
    Task,
    UnixSocket,
)
from llmux.criu_images._users import Role, User, users_of_files
from llmux.criu_images._why_words import AtRestore, at_restore
from llmux.criu_images._words import open_flags

_NEAREST = 5
_SHOWN_BELOW = 5
_GHOST_NAME = re.compile(rb"(.*/)([^/]+)\.cr\.([0-9a-f]+)\.ghost", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Use:
    """One use by one task, said more closely than a `User` does."""

    pid: Pid
    how: str
    """`fd 3`, `mapping 7f00-8f00`, `cwd`."""
    details: str
    """Of a descriptor its flags and position, of a mapping its protection and offset."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way in which a dump refers to a path."""

    kind: str
    """A `PathKind`'s value, or what else the path is to the dump."""
    restore: AtRestore
    uses: tuple[Use, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Why:
    """All that a dump has to say about one path."""

    path: RawPath
    ways: tuple[Way, ...]
    below: tuple[RawPath, ...]
    """Paths that a restore asks for and that lie below this one."""
    nearest: tuple[RawPath, ...]
    """Where nothing refers to the path: those that are most like it."""

    @property
    def referred_to(self) -> bool:
        return bool(self.ways or self.below)


def plain_path(typed: bytes) -> RawPath:
    """Return the path that somebody typed, as an absolute one.

    CRIU's own messages leave out the first slash, so a relative path starts from the root.
    """
    parts = [part for part in typed.split(b"/") if part not in {b"", b"."}]
    return RawPath(b"/" + b"/".join(parts))


def explain_path(dump: Dump, inventory: Inventory, path: RawPath) -> Why:
    """Find every way in which `dump` refers to `path`."""
    ways = tuple(_ways(dump, inventory, path))
    prefix = path.rstrip(b"/") + b"/"
    below = tuple(
        dict.fromkeys(
            item.path for item in inventory.paths if item.path.startswith(prefix) and item.path != path
        )
    )
    nearest = () if ways or below else _nearest(inventory, path)
    return Why(path, ways, below, nearest)


def _ways(dump: Dump, inventory: Inventory, path: RawPath) -> Iterator[Way]:
    for reference in inventory.paths:
        if reference.path == path:
            yield _way(dump, reference)
    yield from _connections(dump, path)
    yield from _temporary(dump, path)
    for mount in dump.mounts:
        if mount.mountpoint == path:
            yield Way(
                "mount point", at_restore("mount point", path), notes=(f"source {escape(mount.source)}",)
            )


def _way(dump: Dump, reference: PathReference) -> Way:
    files = _files_at(dump, reference.path)
    if reference.kind is PathKind.LINK_REMAP and reference.remap is not None:
        files |= {reference.remap.original}  # what is open under the lost name is this file
    return Way(
        reference.kind.value,
        at_restore(reference.kind, reference.path, reference),
        tuple(_uses(dump, files, reference.users)),
        tuple(_notes(dump, reference, files)),
    )


def _files_at(dump: Dump, path: RawPath) -> frozenset[FileId]:
    """Return the entries whose own name this is."""
    return frozenset(
        file.id for file in dump.files.values() if isinstance(file, RegularFile) and file.name == path
    )


def _uses(dump: Dump, files: frozenset[FileId], users: tuple[User, ...]) -> Iterator[Use]:
    """Say each use as closely as the images do; what comes by way of another entry only by its role."""
    by_task: defaultdict[Pid, list[User]] = defaultdict(list)
    for user in users:
        by_task[user.pid].append(user)
    order = list(Role)
    for task in dump.tasks:
        if task.pid in by_task:
            yield from _uses_of_task(
                dump,
                task,
                files,
                sorted(by_task[task.pid], key=lambda user: (order.index(user.role), user.number)),
            )


def _uses_of_task(dump: Dump, task: Task, files: frozenset[FileId], users: list[User]) -> Iterator[Use]:
    descriptors = {item.fd: item for item in task.descriptors if item.file in files}
    for user in users:
        match user.role:
            case Role.FD if user.number in descriptors:
                details = _descriptor_details(dump, descriptors[user.number])
                yield Use(task.pid, f"fd {user.number}", details)
            case Role.FD | Role.IN_FLIGHT:
                yield Use(task.pid, f"{user.role.value} {user.number}", "")
            case Role.MAPPING:
                yield from (_mapping_use(task.pid, item) for item in task.mappings if item.file in files)
            case Role.EXE | Role.CWD | Role.ROOT:
                yield Use(task.pid, user.role.value, "")
            case _:
                assert_never(user.role)


def _descriptor_details(dump: Dump, descriptor: Descriptor) -> str:
    file = dump.files[descriptor.file]
    return f"{open_flags(file.flags)}, at byte {file.pos}" if isinstance(file, RegularFile) else ""


def _mapping_use(pid: Pid, mapping: Mapping) -> Use:
    rights = "".join(
        letter if mapping.protection & bit else "-" for bit, letter in ((1, "r"), (2, "w"), (4, "x"))
    )
    details = f"{rights} {mapping.kind.value}, from byte {mapping.offset}"
    return Use(pid, f"mapping {mapping.start:x}-{mapping.end:x}", details)


def _notes(dump: Dump, reference: PathReference, files: frozenset[FileId]) -> Iterator[str]:
    remap = reference.remap
    if remap is not None and remap.type is RemapType.LINKED:
        link, lost = dump.files[FileId(remap.remap_id)], dump.files[remap.original]
        if isinstance(link, RegularFile) and isinstance(lost, RegularFile):
            yield f"{escape(link.name)} is the same file as the lost {escape(lost.name)}"
    elif remap is not None and remap.type is RemapType.GHOST:
        ghost = dump.ghosts.get(remap.remap_id)
        size = "" if ghost is None or ghost.size is None else f", {counted(ghost.size, 'byte')}"
        yield f"content in ghost-file-{remap.remap_id:x}.img{size}"
    for socket in _sockets_bound_in(dump, reference):
        yield f"the socket {socket.inode} is bound as {escape(socket.name)} from here (its name_dir)"
    holders = {(task.pid, item.fd) for task in dump.tasks for item in task.descriptors if item.file in files}
    for lock in dump.locks:
        if (lock.pid, lock.fd) in holders:
            yield f"locked by {lock.pid} through fd {lock.fd}: needs --file-locks, and no other holder"


def _sockets_bound_in(dump: Dump, reference: PathReference) -> Iterator[UnixSocket]:
    if reference.kind is not PathKind.DIRECTORY:
        return
    for file in dump.files.values():
        if isinstance(file, UnixSocket) and file.name_dir == reference.path:
            yield file


def _connections(dump: Dump, path: RawPath) -> Iterator[Way]:
    """Find the sockets that carry the path as a name only: accepted connections, and those that were bound and connected."""
    sockets = [
        file
        for file in dump.files.values()
        if isinstance(file, UnixSocket) and not (file.binds or file.external) and socket_path(file) == path
    ]
    if not sockets:
        return
    users = users_of_files(dump)
    uses = tuple(use for file in sockets for use in _uses(dump, frozenset(), users.get(file.id, ())))
    inodes = ", ".join(str(file.inode) for file in sockets)
    kind = "name of a connection"
    yield Way(kind, at_restore(kind, path), uses, (f"{counted(len(sockets), 'socket')}: {inodes}",))


def _temporary(dump: Dump, path: RawPath) -> Iterator[Way]:
    """Find names that a restore makes for a moment, and leaves behind when it fails (`ghost_path`, `open_path`)."""
    kind = "name that a restore makes for a moment"
    remapped = {remap.original: remap for remap in dump.remaps}
    found = _GHOST_NAME.fullmatch(path)
    for original, remap in remapped.items():
        file = dump.files[original]
        if not isinstance(file, RegularFile):
            continue
        parent, _, base = file.name.rpartition(b"/")
        ghost = found is not None and found[2] == base and int(found[3], 16) == remap.remap_id
        if path == file.name + b".cr_link" or (
            ghost and found is not None and (parent + b"/").startswith(found[1])
        ):
            yield Way(kind, at_restore(kind, path), notes=(f"for the lost name {escape(file.name)}",))


def _nearest(inventory: Inventory, path: RawPath) -> tuple[RawPath, ...]:
    """Return the referred-to paths that share the most with `path`: its directories, then the start of its name."""
    parts = path.split(b"/")

    def likeness(other: RawPath) -> tuple[int, int]:
        theirs = other.split(b"/")
        same = _common(parts, theirs)
        return same, _common(parts[same], theirs[same]) if same < min(len(parts), len(theirs)) else 0

    paths = {reference.path for reference in inventory.paths}
    return tuple(sorted(paths, key=lambda other: (*(-part for part in likeness(other)), other))[:_NEAREST])


def _common(first: list[bytes] | bytes, second: list[bytes] | bytes) -> int:
    pairs = zip(first, second, strict=False)
    return next(
        (number for number, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second))
    )


def below_in_words(inventory: Inventory, why: Why) -> Iterator[str]:
    """Say what lies below a directory: how many of each kind, and the first few."""
    below = frozenset(why.below)
    kinds = Counter(item.kind.value for item in inventory.paths if item.path in below)
    yield ", ".join(counted(count, kind) for kind, count in kinds.most_common())
    yield from map(escape, why.below[:_SHOWN_BELOW])
    if len(why.below) > _SHOWN_BELOW:
        yield f"and {len(why.below) - _SHOWN_BELOW} more"
