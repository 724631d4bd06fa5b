"""What the steps of a sleep or a wake take, told from where they are done to where the whole is known.

    with recorded() as phases: ...            phases is what has been timed inside, in seconds by name
    with phase("restore"): ...                times a step for whoever records; does nothing where nobody does
    took("frozen", seconds)                   the same for what somebody else has timed

A phase may begin within another, which goes on where it ends; its time is its own alone.
A record belongs to the task that began it, and to the threads and coroutines that this task waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

Begun = Callable[[str], None]
"""Is told the name of each phase that begins, or goes on, and an empty one where none does."""


def _ignore(_name: str) -> None:
    """Listen to nothing."""


@dataclass
class _Open:
    """A phase that is under way."""

    name: str
    began: float
    within: float = 0.0
    """Seconds of phases that have begun and ended within it."""


class Phases(dict[str, float]):
    """Seconds by the name of a phase."""

    def __init__(self, listener: Begun) -> None:
        super().__init__()
        self._listener = listener
        self.since = time.monotonic()
        """When the record began; what takes its time from another moment has phases that seem to begin after its end."""
        self._open: list[_Open] = []
        """The innermost last."""
        self.begun: dict[str, float] = {}
        """Seconds from the record's beginning to a phase's, the first time; of what somebody else has timed it is not known."""

    def add(self, name: str, seconds: float) -> None:
        """Put so many seconds more to the account of a phase."""
        self[name] = self.get(name, 0.0) + seconds

    def enter(self, name: str) -> None:
        """Begin a phase."""
        self._open.append(_Open(name, time.monotonic()))
        self._listener(name)

    def leave(self) -> None:
        """End the innermost phase. Of one with others within it, its last part is taken for all: they come first there."""
        ended, over = time.monotonic(), self._open.pop()
        seconds = ended - over.began - over.within
        self.add(over.name, seconds)
        self.begun.setdefault(over.name, ended - seconds - self.since)
        if self._open:
            self._open[-1].within += ended - over.began
        self._listener(self._open[-1].name if self._open else "")


_record: ContextVar[Phases | None] = ContextVar("phases", default=None)


@contextmanager
def recorded(begun: Begun = _ignore) -> Iterator[Phases]:
    """Give what is timed inside, as it comes."""
    phases = Phases(begun)
    token = _record.set(phases)
    try:
        yield phases
    finally:
        _record.reset(token)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Time what is inside, also where it fails."""
    phases = _record.get()
    if phases is None:
        yield
        return
    phases.enter(name)
    try:
        yield
    finally:
        phases.leave()


def took(name: str, seconds: float) -> None:
    """Put so many seconds more to the account of a phase."""
    phases = _record.get()
    if phases is not None:
        phases.add(name, seconds)
