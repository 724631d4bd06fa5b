"""What the steps of a sleep or a wake take, told from where they are done to where the whole is known.

    with recorded() as phases: ...            phases is what has been timed inside, in seconds by name
    with phase("restore"): ...                times a step for whoever records; does nothing where nobody does
    took("frozen", seconds)                   the same for what somebody else has timed

A record belongs to the task that began it, and to the threads and coroutines that this task waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Begun = Callable[[str], None]
"""Is told the name of each phase that begins, and an empty one where it ends."""


def _ignore(_name: str) -> None:
    """Listen to nothing."""


class Phases(dict[str, float]):
    """Seconds by the name of a phase."""

    def __init__(self, listener: Begun) -> None:
        super().__init__()
        self.listener = listener
        self._recorded_since = time.monotonic()
        self.begun: dict[str, float] = {}
        """Seconds from the record's beginning to a phase's; of what somebody else has timed it is not known."""

    def add(self, name: str, seconds: float) -> None:
        """Put so many seconds more to the account of a phase."""
        self[name] = self.get(name, 0.0) + seconds

    def begin(self, name: str, at: float) -> None:
        """Note when a phase has begun, by the monotonic clock; the first time counts."""
        self.begun.setdefault(name, at - self._recorded_since)


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
    began, phases = time.monotonic(), _record.get()
    if phases is None:
        yield
        return
    phases.begin(name, began)
    phases.listener(name)
    try:
        yield
    finally:
        phases.listener("")
        phases.add(name, time.monotonic() - began)


def took(name: str, seconds: float) -> None:
    """Put so many seconds more to the account of a phase."""
    phases = _record.get()
    if phases is not None:
        phases.add(name, seconds)
