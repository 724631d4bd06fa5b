"""What the steps of a sleep or a wake take, told from where they are done to where the whole is known.

    with recorded() as phases: ...            phases is what has been timed inside, in seconds by name
    with phase("restore"): ...                times a step for whoever records; does nothing where nobody does
    took("frozen", seconds)                   the same for what somebody else has timed

A record belongs to the task that began it, and to the threads and coroutines that this task waits for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

Phases = Mapping[str, float]
"""Seconds by the name of a phase."""

_record: ContextVar[dict[str, float] | None] = ContextVar("phases", default=None)


@contextmanager
def recorded() -> Iterator[Phases]:
    """Give what is timed inside, as it comes."""
    phases: dict[str, float] = {}
    token = _record.set(phases)
    try:
        yield phases
    finally:
        _record.reset(token)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Time what is inside, also where it fails."""
    began = time.monotonic()
    try:
        yield
    finally:
        took(name, time.monotonic() - began)


def took(name: str, seconds: float) -> None:
    """Put so many seconds more to the account of a phase."""
    phases = _record.get()
    if phases is not None:
        phases[name] = phases.get(name, 0.0) + seconds
