"""Digests of the files that are recorded and not carried, so that another build of them is found before a restore.

The tree is frozen meanwhile, so at most 1 MiB of each file is read (a build differs in its headers and tables, not in one byte), and
nothing more once the time for it is up. Files without a build-id come first: nothing else but their size tells them apart. What got no
digest is said in the manifest, and compared by size, mode, build-id and times.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from time import monotonic
from typing import TypeAlias

from llmux.criu_images._counted import counted
from llmux.criu_images._digest import Algorithm, ShortReadError, bytes_read, digest_file
from llmux.criu_images._gather import GatheredFile
from llmux.criu_images._policy import Depth
from llmux.criu_images._progress import Advance, Listener, Meter, Phase, ignore
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import CaptureFailed

MOST_SECONDS = 0.5
"""The frozen tree waits no longer than this for digests of files that are left, but for those that a rule wants whole."""
_ALGORITHMS = {Depth.SAMPLED: Algorithm.SAMPLED, Depth.WHOLE: Algorithm.WHOLE}
_Clock: TypeAlias = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Identified:
    """All files again, and how many bytes were read for their digests."""

    files: tuple[GatheredFile, ...]
    bytes: int


def identify(
    tree: Tree,
    files: Iterable[GatheredFile],
    seconds: float = MOST_SECONDS,
    clock: _Clock = monotonic,
    listener: Listener = ignore,
) -> Identified:
    """Give each file that is not carried its digest, as far as the time allows; the order stays. Raises CaptureFailed."""
    files = tuple(files)
    until = clock() + seconds
    read, found = 0, dict[int, str]()
    wanted = [number for number, file in enumerate(files) if file.depth is not Depth.NONE]
    meter = Meter(listener, Phase.DIGEST, (files[number].entry.size for number in wanted))
    for number in sorted(wanted, key=lambda number: _urgency(files[number])):
        file = files[number]
        with meter.file(file.entry.names[0], file.entry.size) as advance:
            if file.depth is Depth.WHOLE or clock() < until:
                algorithm = _ALGORITHMS[file.depth]
                found[number] = _digest(tree, file, algorithm, advance)
                read += bytes_read(file.entry.size, algorithm)
    return Identified(tuple(_with_digest(file, found.get(number)) for number, file in enumerate(files)), read)


def _urgency(file: GatheredFile) -> tuple[bool, bool, int]:
    return file.depth is not Depth.WHOLE, file.entry.build_id is not None, file.entry.size


def _with_digest(file: GatheredFile, digest: str | None) -> GatheredFile:
    if digest is None:
        return file
    return replace(file, entry=file.entry.model_copy(update={"digest": digest}))


def _digest(tree: Tree, file: GatheredFile, algorithm: Algorithm, advance: Advance) -> str:
    path = file.entry.names[0]
    try:
        with tree.open_file(path, os.O_RDONLY | os.O_NOATIME) as fd:
            return digest_file(fd, file.entry.size, algorithm, advance)
    except ShortReadError as error:
        raise CaptureFailed.too_short(path, counted(file.entry.size, "byte")) from error
    except OSError as error:
        raise CaptureFailed(path, error.strerror or str(error)) from error
