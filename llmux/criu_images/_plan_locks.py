"""The file locks of a dump that somebody else holds here (`restore_file_lock` of file-lock.c).

CRIU takes them again where it is given `--file-locks`. For a POSIX lock and an flock it waits as long as another has it, and says nothing: its log ends with the
line that announces the lock. An OFD lock and a lease fail at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from llmux.criu_images._actions import Action, Conflict, MaskWithCopy, PlaceFile, path_conflict
from llmux.criu_images._counted import stretch
from llmux.criu_images._facts import Facts
from llmux.criu_images._messages_sockets import FLOCK_WAITS, LEASE_TAKEN, OFD_TAKEN, POSIX_WAITS
from llmux.criu_images._paths import RawPath
from llmux.criu_images.manifest import LockEntry, LockKind, Manifest

_STOP = "Stop the holder, or have it let go"


def lock_conflicts(manifest: Manifest, facts: Facts, actions: Iterable[Action]) -> Iterator[Conflict]:
    """Yield a conflict for each lock that another holds; not on files that the actions make: nobody knows those yet."""
    new = frozenset(_new_files(actions))
    for number, holder in facts.locked.items():
        lock = manifest.locks[number]
        if lock.path not in new:
            yield _conflict(lock, holder)


def _new_files(actions: Iterable[Action]) -> Iterator[RawPath]:
    for action in actions:
        match action:
            case PlaceFile(entry, existing=None) | MaskWithCopy(entry):
                yield from entry.names
            case _:
                pass


def _conflict(lock: LockEntry, holder: str) -> Conflict:
    mode = "exclusive" if lock.exclusive else "shared"
    mine = f"the dump's own ({lock.kind.value}, {mode}, {stretch(lock.start, lock.length)})"
    match lock.kind:
        case LockKind.FLOCK | LockKind.POSIX:
            found = f"{holder} holds a lock that keeps out {mine}"
            return path_conflict(
                lock.path, found, _waiting(lock), f"{_STOP}: CRIU would wait for that, however long."
            )
        case LockKind.OFD:
            found = f"{holder} holds a lock that keeps out {mine}"
            return path_conflict(lock.path, found, OFD_TAKEN.say(), f"{_STOP}.")
        case LockKind.LEASE:
            found = f"{holder} has it open, which keeps out {mine}"
            return path_conflict(lock.path, found, LEASE_TAKEN.say(), f"{_STOP}.")
        case _:
            assert_never(lock.kind)


def _waiting(lock: LockEntry) -> str:
    """Write the last line of CRIU's log (from -v3 on)."""
    kind = int(lock.exclusive)
    if lock.kind is LockKind.FLOCK:
        return FLOCK_WAITS.say(type=kind, cmd=1 + kind, pid=lock.pid, fd=lock.fd)
    start, length = (f"{number:8x}" for number in (lock.start, lock.length))
    return POSIX_WAITS.say(type=kind, pid=lock.pid, fd=lock.fd, start=start, len=length)
