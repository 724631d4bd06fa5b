"""The requests that wait for one model: first in, first out within a priority. Nothing here waits or knows the time."""

from __future__ import annotations

import asyncio
import itertools
from bisect import insort
from collections.abc import Callable
from enum import Enum, auto

from msgspec import Struct, field

from llmux.server._hands import Life
from llmux.server._model import CutInFlight

_numbers = itertools.count()


class Place(Struct, frozen=True):
    """A request's place in the queue, which it has again when it comes back. By the monotonic clock."""

    arrived: float
    """When the request came: its time runs from then."""
    since: float
    """When it took this place: those who wait are sorted by that, and the policy sees that."""

    def behind(self, now: float) -> Place:
        """Return the place behind all who wait now."""
        return Place(self.arrived, now)


class Errand(Enum):
    """What somebody waits for an engine for."""

    REQUEST = auto()  # to have a client's request answered
    WAKE = auto()  # to have the model woken by hand
    SWITCH = auto()  # the same at once: whoever is in the way sleeps


class Caller(Struct, frozen=True):
    """Who waits for an engine; without anything said a request that cannot be told from others."""

    errand: Errand = Errand.REQUEST
    id: str = ""
    """No other request's."""
    request_id: str = ""
    """What its client and the log know it by."""
    method: str = ""
    path: str = ""


class Admission(Struct, frozen=True):
    """The engine that answers a request."""

    replica: str
    life: Life
    queued: float
    """Seconds since the request came."""
    wake: str
    """How the engine came to serve, if the request had to wait for that: `restored` or `cold`; otherwise `warm`."""
    place: Place
    """Where the request waited."""
    cut: asyncio.Future[CutInFlight]
    """Done when the answer is to be ended, with the reason."""
    heard: Callable[[], None]
    """To be called when the engine has sent something of the answer."""


class Ticket(Struct, eq=False):
    """One request's way to an engine: `admitted` tells of the engine, or why there never will be one."""

    place: Place
    priority: int
    admitted: asyncio.Future[Admission]
    caller: Caller = field(default_factory=Caller)
    replica: str | None = None
    """The one that it is for, if that serves."""
    number: int = field(default_factory=_numbers.__next__)

    @property
    def order(self) -> tuple[int, float, int]:
        """Return what waiting requests are sorted by."""
        return (-self.priority, self.place.since, self.number)


class Queue(list[Ticket]):
    """Tickets in the order that they are to be admitted in."""

    def add(self, ticket: Ticket) -> None:
        """Let a ticket wait."""
        insort(self, ticket, key=lambda each: each.order)

    def take(self) -> Ticket:
        """Take out the first."""
        return self.pop(0)

    def asked(self, errand: Errand) -> int:
        """Return how many wait for this."""
        return sum(1 for ticket in self if ticket.caller.errand is errand)

    @property
    def oldest(self) -> float | None:
        """Return when the longest waiting one took its place."""
        return min((ticket.place.since for ticket in self), default=None)

    @property
    def priority(self) -> int:
        """Return the highest priority of those that wait."""
        return max((ticket.priority for ticket in self), default=0)
