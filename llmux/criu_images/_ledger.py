"""What rebuilds have put into this container's memory file systems, whichever restore it was for.

A restore that succeeds forgets its journal, and the files it was made for live on: shared memory, semaphores. Once the tree is
gone nobody removes them, and with other content they stand in the way of the next restore of the same dump. This list tells which
of them we made, so that they, and nothing else, may be replaced when no process has them open.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from llmux.criu_images._facts import Born, MountPoint
from llmux.criu_images._journal import Kind, Made, format_line, read_journal
from llmux.criu_images._paths import RawPath
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import JournalInvalid, UnsafeLink

_NAME = "in-memory"


def read_made(directory: Path) -> frozenset[tuple[RawPath, Born]]:
    """Return what is known to be made; nothing where the list in `directory` cannot be read: then nothing is replaced."""
    with suppress(JournalInvalid):
        return frozenset((path, made.born) for made in read_journal(directory / _NAME) for path in made.paths)
    return frozenset()


def remember(directory: Path, tree: Tree, journal: Iterable[Made], mounts: Iterable[MountPoint]) -> None:
    """Add what `journal` says was made in memory, and drop what is there no more; raises OSError. Call it under the lock."""
    memory = {mount.id for mount in mounts if mount.in_memory}
    known = [*_readable(directory / _NAME), *(made for made in journal if made.kind is Kind.NODE)]
    kept = {line for made in known for line in _still_there(tree, made, memory)}
    if not kept:
        (directory / _NAME).unlink(missing_ok=True)
        return
    new = directory / f"{_NAME}.new"
    new.write_bytes(b"".join(sorted(map(format_line, kept))))
    new.replace(directory / _NAME)


def _readable(path: Path) -> tuple[Made, ...]:
    with suppress(JournalInvalid):
        return read_journal(path)
    return ()


def _still_there(tree: Tree, made: Made, memory: set[int]) -> Iterable[Made]:
    for path in made.paths:
        with suppress(OSError, UnsafeLink):
            inode = tree.inspect(path)
            if inode is not None and inode.born == made.born and inode.mount in memory:
                yield Made(Kind.NODE, (path,), *made.born[:2], birth_ns=made.birth_ns)
