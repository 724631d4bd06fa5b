"""How far a long operation has come, told to a callback of the caller's.

It is told where a file begins, after each 8 MiB of one, and at a phase's end: so often that a bar moves, so seldom that a frozen
tree does not notice.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from llmux.criu_images._paths import RawPath

_STEP = 8 << 20
"""Bytes of one file between two calls."""


class Phase(enum.Enum):
    """What is being done; one operation goes through some of these, in this order."""

    CHECK_IMAGES = "checking images"
    CHECK_COPIES = "checking copied files"
    COMPARE = "comparing files"
    DIGEST = "digesting files"
    """Those that a capture does not carry."""
    CARRY = "carrying files"
    DIGEST_IMAGES = "digesting images"
    PLACE = "placing files"


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of an operation."""

    phase: Phase
    path: RawPath
    """The file that is being worked on; an image's or a copy's is its name in the checkpoint."""
    done_bytes: int
    """Of the files' sizes: holes, and what a digest by samples skips, are done in no time."""
    total_bytes: int
    done_files: int
    total_files: int


Listener: TypeAlias = Callable[[Progress], None]
Advance: TypeAlias = Callable[[int], None]
"""Takes the offset up to which a file is done."""


def ignore(_: Progress) -> None:
    """Listen to nothing."""


class CallbackFailed(BaseException):
    """Carries what a caller's callback raised past all that handles errors of files: none of them is a file's."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def passing_on() -> Iterator[None]:
    """Raise what the callback raised, as it was."""
    try:
        yield
    except CallbackFailed as failed:
        raise failed.error from None


class Meter:
    """Counts one phase and tells the listener."""

    def __init__(self, listener: Listener, phase: Phase, sizes: Iterable[int]) -> None:
        """`sizes` has one for each file that `file` will be called for."""
        sizes = tuple(sizes)
        self._listener = listener
        self._phase = phase
        self._total = sum(sizes), len(sizes)
        self._bytes = 0
        self._files = 0

    @contextmanager
    def file(self, path: bytes, size: int) -> Iterator[Advance]:
        """Count a file of `size` as done when the block ends, and in it what it is told."""
        here = RawPath(path)
        told = 0

        def advance(offset: int) -> None:
            nonlocal told
            if offset - told >= _STEP and offset < size:
                told = offset
                self._tell(here, offset)

        self._tell(here, 0)
        yield advance
        self._bytes += size
        self._files += 1
        if self._files == self._total[1]:
            self._tell(here, 0)

    def _tell(self, path: RawPath, offset: int) -> None:
        bytes_, files = self._total
        progress = Progress(self._phase, path, self._bytes + offset, bytes_, self._files, files)
        try:
            self._listener(progress)
        except Exception as error:
            raise CallbackFailed(error) from error
