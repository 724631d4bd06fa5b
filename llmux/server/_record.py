"""What llmux knows of the models and their replicas at run time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from llmux.server._answer_time import Deadlines
from llmux.server._hands import Hands, Life, Stored
from llmux.server._model import (
    Asleep,
    CutInFlight,
    Deepening,
    Draining,
    GoingToSleep,
    Running,
    State,
    Wake,
    name_of,
)
from llmux.server._queue import Queue, Ticket
from llmux.server._rules import Rules, Sizes
from llmux.server._takes import Takes
from llmux.server.config import ScheduleConfig
from llmux.server.errors import Problem


@dataclass(frozen=True, eq=False)
class Anew:
    """What a replica becomes once it is at rest: one with another engine."""

    hands: Hands
    port: int


@dataclass(frozen=True, eq=False)
class Gone:
    """What a replica becomes once it is at rest: nothing. Its checkpoint stays."""


@dataclass(eq=False)
class Orders:
    """What somebody has said by hand about all models."""

    manual: bool = False
    """Models are woken and put to sleep by hand only."""
    draining: bool = False
    """No new request is let in."""


@dataclass(frozen=True)
class Moved:
    """What the scheduler last had a replica do, and why."""

    what: str
    why: str
    at: float
    """In seconds since the epoch, for people."""


@dataclass(frozen=True)
class Step:
    """What an operation on a replica is at."""

    phase: str
    """As `_phases.py` times it."""
    since: float
    """By the monotonic clock."""


@dataclass(eq=False)
class Replica:
    """One engine of a model. The driver and its operations write it, everybody else reads."""

    name: str
    model: str
    hands: Hands
    state: State
    sizes: Sizes = field(default_factory=Sizes)
    takes: Takes = field(default_factory=Takes)
    port: int = 0
    """Its engine's; 0 where none runs or is to."""
    becomes: Anew | Gone | None = None
    """What another configuration makes of it; until then it takes no request and is not woken."""
    life: Life | None = None
    stored: Stored | None = None
    checkpoint_problem: Problem | None = None
    """Why what lies where its checkpoint should be is none."""
    last_wake: Wake | None = None
    last_move: Moved | None = None
    served_since: float = 0.0
    """When its engine last came to serve, by the monotonic clock, as all these times."""
    last_used: float = 0.0
    heard_at: float = 0.0
    """When its engine last sent something of an answer, or was given a request while it had none."""
    silences: int = 0
    """How many answers have stopped since, without a byte from the engine in all their time."""
    asleep_since: float = 0.0
    """When it fell asleep, however much deeper it has gone since."""
    flights: dict[Ticket, asyncio.Future[CutInFlight]] = field(default_factory=dict)
    """The requests in flight, each with what ends it."""
    sleepers: list[asyncio.Future[Problem | None]] = field(default_factory=list)
    """Those who wait for the end of a sleep: its problem, or None."""
    operation: asyncio.Task[None] | None = None
    step: Step | None = None
    """What that is at, where it says so."""
    drain_timer: asyncio.TimerHandle | None = None

    async def until_asleep(self) -> Problem | None:
        """Wait for the end of a sleep that is under way; return why it failed."""
        outcome: asyncio.Future[Problem | None] = asyncio.get_running_loop().create_future()
        self.sleepers.append(outcome)
        return await outcome

    def settle(self, outcome: Problem | None) -> None:
        """Tell those who wait for the end of its sleep."""
        for sleeper in self.sleepers:
            if not sleeper.done():
                sleeper.set_result(outcome)
        self.sleepers.clear()

    def cut(self, why: CutInFlight) -> None:
        """End every answer in flight."""
        for cut in self.flights.values():
            if not cut.done():
                cut.set_result(why)

    @property
    def is_busy(self) -> bool:
        """Say whether its engine is answering a request."""
        return bool(self.flights)

    def heard(self) -> None:
        """Note that its engine has sent something."""
        self.heard_at, self.silences = time.monotonic(), 0

    def __str__(self) -> str:
        return f"{self.name} ({name_of(self.state)})"


async def until_idle(replica: Replica) -> None:
    """Return once no operation is at work on a replica."""
    while replica.operation and not replica.operation.done():
        await asyncio.wait((replica.operation,))


@dataclass(eq=False)
class Model:
    """One model, as clients know it."""

    name: str
    rules: Rules
    replicas: tuple[Replica, ...]
    queue: Queue = field(default_factory=Queue)
    deadlines: Deadlines = field(default_factory=Deadlines)
    """Of its answers that have not begun."""
    schedules: tuple[ScheduleConfig, ...] = ()
    scheduled: bool = False
    """Its schedules want it awake now."""
    turn_ended: float | None = None
    """When the last of its replicas that served ceased to."""
    departing: bool = False
    """The configuration names it no longer: clients do not find it, and it goes once its replicas are at rest."""
    draining: bool = False
    """No new request for it is let in, as somebody has said by hand."""
    at_rest_by_hand: bool = False
    """It was put to sleep by hand, so that neither a schedule nor a preload wakes it until somebody asks for it."""

    def to_put_to_sleep(self) -> tuple[Replica, ...]:
        """Return whom a sleep by hand is for: those awake, else those that may sleep deeper, else one whose state refuses it."""
        awake = tuple(
            each for each in self.replicas if isinstance(each.state, Running | Draining | GoingToSleep)
        )
        asleep = tuple(each for each in self.replicas if isinstance(each.state, Asleep | Deepening))
        return awake or asleep or self.replicas[:1]
