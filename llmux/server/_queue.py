"""The requests that wait for one model: first in, first out within a priority. Nothing here waits or knows the time."""

from __future__ import annotations

import asyncio
import itertools
from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from llmux.server._hands import Life
from llmux.server._model import CutInFlight

_numbers = itertools.count()


@dataclass(frozen=True)
class Admission:
    """The engine that answers a request."""

    replica: str
    life: Life
    queued: float
    """Seconds that the request has waited."""
    wake: str
    """How the engine came to serve, if the request had to wait for that: `restored` or `cold`; otherwise `warm`."""
    arrived: float
    """When the request came, by the monotonic clock."""
    cut: asyncio.Future[CutInFlight]
    """Done when the answer is to be ended, with the reason."""
    heard: Callable[[], None]
    """To be called when the engine has sent something of the answer."""


@dataclass(eq=False)
class Ticket:
    """One request's way to an engine: `admitted` tells of the engine, or why there never will be one."""

    arrived: float
    """By the monotonic clock."""
    priority: int
    admitted: asyncio.Future[Admission]
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def order(self) -> tuple[int, float, int]:
        """Return what waiting requests are sorted by: one that comes back has the place that it had."""
        return (-self.priority, self.arrived, self.number)


class Queue:
    """Tickets in the order that they are to be admitted in."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []

    def __len__(self) -> int:
        return len(self._tickets)

    def __iter__(self) -> Iterator[Ticket]:
        return iter(self._tickets)

    def __contains__(self, ticket: Ticket) -> bool:
        return ticket in self._tickets

    def add(self, ticket: Ticket) -> None:
        """Let a ticket wait."""
        insort(self._tickets, ticket, key=lambda each: each.order)

    def remove(self, ticket: Ticket) -> None:
        """Let one go that waits no longer."""
        self._tickets.remove(ticket)

    def take(self) -> Ticket:
        """Take out the first."""
        return self._tickets.pop(0)

    @property
    def oldest(self) -> float | None:
        """Return when the longest waiting one came."""
        return min((ticket.arrived for ticket in self._tickets), default=None)

    @property
    def priority(self) -> int:
        """Return the highest priority of those that wait."""
        return max((ticket.priority for ticket in self._tickets), default=0)
