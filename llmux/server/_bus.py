"""Brings what happens to whoever wants to see it, at once and in order; keeps the latest for those who come later.

    bus.publish(happening)                    never waits, never raises
    with bus.subscribed(take): ...            take(entry) for each from now on; it must not wait either
    bus.since(id)                             what is kept of the entries after this one
    bus.complete_since(id)                    whether that is all of them

Everything in the loop's own thread.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import attrgetter

from llmux.server._happenings import OF_REQUESTS, Entry, Happening

log = logging.getLogger(__name__)

KEPT = 2048
"""Entries that are kept, of requests and of all else: many requests must not push out why a model fell asleep."""

Subscriber = Callable[[Entry], None]


class Bus:
    """All that happens in one llmux."""

    def __init__(self, kept: int = KEPT) -> None:
        self._last = 0
        self._requests: deque[Entry] = deque(maxlen=kept)
        self._others: deque[Entry] = deque(maxlen=kept)
        self._forgotten = 0
        """The latest entry that is no longer kept."""
        self._subscribers: tuple[Subscriber, ...] = ()
        self._pending: deque[Entry] = deque()
        self._delivering = False

    @property
    def last(self) -> int:
        """Return the id of the latest entry; 0 before the first."""
        return self._last

    def publish(self, happening: Happening) -> None:
        """Give it the next id, and to everybody. What a subscriber publishes meanwhile comes after it to all of them."""
        self._last += 1
        entry = Entry(self._last, time.time(), time.monotonic(), happening)
        ring = self._requests if isinstance(happening, OF_REQUESTS) else self._others
        if len(ring) == ring.maxlen:
            self._forgotten = max(self._forgotten, ring[0].id)
        ring.append(entry)
        if self._delivering:
            self._pending.append(entry)
            return
        self._delivering = True
        try:
            self._deliver(entry)
            while self._pending:
                self._deliver(self._pending.popleft())
        finally:
            self._delivering = False

    @contextmanager
    def subscribed(self, take: Subscriber) -> Iterator[None]:
        """Have `take` called with every entry while this lasts."""
        self._subscribers += (take,)
        try:
            yield
        finally:
            self._subscribers = tuple(each for each in self._subscribers if each is not take)

    def since(self, last: int) -> tuple[Entry, ...]:
        """Return what is kept of the entries after the one with this id, in order."""
        both = heapq.merge(self._others, self._requests, key=attrgetter("id"))
        return tuple(entry for entry in both if entry.id > last)

    def complete_since(self, last: int) -> bool:
        """Say whether all entries after the one with this id are still kept."""
        return self._forgotten <= last <= self._last

    def _deliver(self, entry: Entry) -> None:
        for take in self._subscribers:
            try:
                take(entry)
            except Exception:  # the boundary of whoever looks on: what he looks at goes on
                log.exception("somebody who looks on failed at %s", type(entry.happening).__name__)
