"""After a restore whose tree is well: ends what was there for the restore alone, and forgets how to take the rest back."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmux.criu_images._hold import Held, end_holder
from llmux.criu_images._journal import Kind, Made, locked, read_journal, settle
from llmux.criu_images._journals import find_journal
from llmux.criu_images._paths import RawPath
from llmux.criu_images._safefs import Tree
from llmux.criu_images._verify import read_manifest
from llmux.criu_images.errors import UnsafeLink

_ROOT = Path("/")
_STAYS = frozenset({Kind.NODE, Kind.DIRECTORY, Kind.MASK})


@dataclass(frozen=True, slots=True)
class Finished:
    """What a finish found."""

    remaining: tuple[RawPath, ...]
    """What rebuilds have made and is still there: no undo takes it back any more."""
    held: tuple[Held, ...] = ()
    """What was sent to the names of peers outside the dump, while a process of ours held them."""
    left: str = ""
    """Why that process had left by itself before; empty if it did not."""
    sockets: tuple[socket.socket, ...] = ()
    """The held sockets in the order of `held`, where they were handed over; they are the caller's to close."""


def finish(
    directory: Path, *, root: Path = _ROOT, journal: Path | None = None, hand_over: bool = False
) -> Finished:
    """Settle the rebuilds of `directory`: the restored tree is well, and what was made for it is its own from now on.

    The process that holds external bind points ends. With `hand_over` their sockets are not closed but returned, still bound and connected to
    by the tree, and what was sent before is sent to them once more, so that their new owner reads it. Raises JournalInvalid, OSError
    and what `read_manifest` raises.
    """
    journal = journal or find_journal(read_manifest(directory).seal)
    with locked(journal), Tree(root) as tree:
        report = end_holder(journal, hand_over=hand_over)
        remaining = tuple(sorted(set(_remaining(tree, read_journal(journal)))))
        settle(journal)
    return Finished(remaining, report.held, report.why, report.sockets)


def _remaining(tree: Tree, lines: Iterable[Made]) -> Iterator[RawPath]:
    for made in lines:
        for path in made.paths if made.kind in _STAYS else ():
            with suppress(OSError, UnsafeLink):
                inode = tree.inspect(path)
                if inode is not None and inode.identity == (made.device, made.inode):
                    yield path
