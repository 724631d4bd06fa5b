"""What lies among the checkpoints that nobody needs: of models that are configured no longer, and half-made ones.

    found = left_over(root, configured)          `configured` are the replicas' names
    remove(one) -> bool                          unless somebody uses it, be it another container

Blocks: call it in a thread. Only what looks like a checkpoint's directory is touched: whoever keeps something else there keeps it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from llmux.criu_images import MANIFEST_NAME
from llmux.server._checkpoints import FACTS_NAME, PUBLISHED, finished, generations, size_on_disk
from llmux.server._locks import locked, remove_unlocked


class Why(StrEnum):
    """Why nobody needs it."""

    ORPHAN = "orphan"  # its model is configured no longer
    HALF_MADE = "half_made"  # its making was broken off, or it was replaced and could not be removed


@dataclass(frozen=True)
class LeftOver:
    """Something that nobody needs."""

    name: str
    """The replica's that it is, or was, of."""
    why: Why
    path: Path
    size_bytes: int


def left_over(root: Path, configured: Collection[str]) -> tuple[LeftOver, ...]:
    """Return what nobody needs below `root`; what somebody works on at this moment is not among it."""
    return tuple(each for home in _homes(root) for each in _of(home, configured))


def remove(one: LeftOver) -> bool:
    """Remove it, unless somebody uses it; say whether it is gone. Raises OSError."""
    if one.why is Why.HALF_MADE:
        return remove_unlocked(one.path)
    with contextlib.ExitStack() as locks:
        for path in _parts(one.path):
            if not locks.enter_context(locked(path)):
                return False
        shutil.rmtree(one.path)
    return True


def _of(home: Path, configured: Collection[str]) -> Iterator[LeftOver]:
    if home.name not in configured:
        yield LeftOver(home.name, Why.ORPHAN, home, size_on_disk(home))
        return
    published = finished(home / PUBLISHED)
    for path in generations(home):
        if finished(path) <= published and _is_free(path):
            yield LeftOver(home.name, Why.HALF_MADE, path, size_on_disk(path))


def _homes(root: Path) -> Iterator[Path]:
    try:
        found = sorted(root.iterdir())
    except OSError:
        return
    yield from (each for each in found if _is_own_directory(each) and _holds_checkpoints_only(each))


def _holds_checkpoints_only(home: Path) -> bool:
    parts, entries = _parts(home), list(home.iterdir())
    images = home / PUBLISHED
    known = any((images / name).is_file() for name in (MANIFEST_NAME, FACTS_NAME))
    return bool(parts) and len(parts) == len(entries) and (known or not os.path.lexists(images))


def _parts(home: Path) -> list[Path]:
    images = home / PUBLISHED
    return [*([images] if _is_own_directory(images) else []), *generations(home)]


def _is_own_directory(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _is_free(path: Path) -> bool:
    with locked(path) as ours:
        return ours
