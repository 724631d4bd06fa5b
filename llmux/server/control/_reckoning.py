"""How far long work is, by what its phases used to take and by how much is done. Pure; in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmux.server._takes import part_of

IN_ORDER = ("engine_sleep", "cuda_suspend", "dump", "end", "restore", "cuda_resume", "health", "wake")
"""The phases of sleeps and of wakes, as they follow one another."""
_OVERDUE = 0.25
"""What takes longer than it used to is taken to need this share of its usual time again."""
_TELLING = 0.05
"""The share of a whole from which on its pace says how long the rest takes."""


@dataclass(frozen=True)
class Progress:
    """What can be said of an operation that is under way."""

    phase: str
    eta: float | None = None
    """In seconds."""
    size: int | None = None
    """Bytes that are written, read or removed."""
    size_in_all: int | None = None

    def percent(self, seconds: float) -> float | None:
        """Return how much is done after so many seconds; never all of it."""
        if self.eta is not None:
            done = seconds / (seconds + self.eta or 1.0)
        elif self.size is not None and self.size_in_all:
            done = self.size / self.size_in_all
        else:
            return None
        return round(min(99.0, 100.0 * done), 1)


HowFar = Callable[[float], Progress]
"""Says of work that is no model's move how far it is after so many seconds."""


@dataclass
class Pace:
    """How fast checkpoints are read on this machine, as far as that was seen."""

    rate: float | None = None
    """Bytes a second."""

    def seen(self, size: int, seconds: float) -> None:
        """Take note of the latest that was read."""
        if size > 0 and seconds > 0:
            self.rate = size / seconds

    def usual(self, size: int) -> float | None:
        """Return the seconds that so many bytes take."""
        return size / self.rate if self.rate else None


@dataclass
class Reading:
    """How much of a checkpoint is read, part after part, as whoever reads it tells."""

    in_all: int
    """Bytes; more where its files have holes, which are told of too."""
    usual: float | None = None
    """The seconds that it takes, as far as was seen."""
    _part: str = ""
    _before: int = 0
    """Bytes of the parts that are over."""
    _done: int = 0
    _of_part: int = 0

    def told(self, part: str, done: int, of: int) -> None:
        """Take note that so many bytes of this part are read; a new part begins where the one before was read whole."""
        if part != self._part:
            self._part, self._before = part, self._before + self._of_part
        self._done, self._of_part = done, of
        self.in_all = max(self.in_all, self._before + of)

    def how_far(self, seconds: float) -> Progress:
        """Return it, and how long the rest takes: as it used to, and once enough is read, at the same pace."""
        done = self._before + self._done
        if self.usual is not None and done < self.in_all * _TELLING:
            eta: float | None = left(self.usual, seconds)
        else:
            eta = seconds * (self.in_all - done) / done if done else None
        return Progress("verifying", None if eta is None else round(eta, 3), done, self.in_all)


@dataclass
class Tally:
    """How much of something is done, by bytes."""

    phase: str
    done: int = 0
    in_all: int = 0

    def how_far(self, seconds: float) -> Progress:
        """Return it, and how long the rest takes at the same pace."""
        eta = seconds * (self.in_all - self.done) / self.done if self.done else None
        return Progress(self.phase, None if eta is None else round(eta, 3), self.done, self.in_all)


def left(usual: float, passed: float) -> float:
    """Return what is left of something that used to take so long."""
    return max(usual - passed, usual * _OVERDUE)


def left_of_move(
    parts: Mapping[str, float], move: str, phase: str, passed: float, share: float | None = None
) -> float | None:
    """Return what is left of a move that has been in `phase` for so long; None where this phase was never measured.

    `share` is how much of what this phase does is done, where that can be seen.
    """
    if share is not None and share >= _TELLING:
        this = passed * (1.0 - min(share, 1.0)) / share
    elif (usual := parts.get(part_of(move, phase))) is not None:
        this = left(usual, passed)
    else:
        return None
    later = IN_ORDER[IN_ORDER.index(phase) + 1 :] if phase in IN_ORDER else ()
    return this + sum(parts.get(part_of(move, each), 0.0) for each in later)
