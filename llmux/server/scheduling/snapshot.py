"""What a scheduling policy sees, and what it may decide. Pure types.

Times are seconds of one monotonic clock, whose zero means nothing. Amounts are of whatever the node has a bounded
quantity of, by name: `host_memory`, `disk` and `gpu_memory:0` in bytes, `awake` for a limit on how many models are
awake together, `exclusive:GROUP` for models that exclude one another (each needs the only one). What the capacity does
not name is not bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Amounts = Mapping[str, int]


class Phase(StrEnum):
    """Where a replica is in its life, as far as scheduling goes."""

    RESTING = "resting"  # serves nothing and may be woken: asleep at any depth, stopped, or never started
    RISING = "rising"  # on its way to serve: starting or waking
    AWAKE = "awake"  # serves
    SINKING = "sinking"  # on its way to sleep or deeper: draining, being dumped, being stopped
    DOWN = "down"  # failed, and not to be started again yet


@dataclass(frozen=True)
class Costs:
    """What moving a replica takes, in seconds, as measured and smoothed."""

    wake: float
    """From being asked to serving, out of the sleep it is in, or would be in."""
    sleep: float
    """From its last answer to having given its resources back."""
    drain: float
    """The longest that its requests in flight may hold a sleep up."""


@dataclass(frozen=True)
class Replica:
    """One engine of a model."""

    name: str
    model: str
    phase: Phase
    since: float
    """When it came into this phase."""
    last_used: float
    """When a request last came for it or was answered by it."""
    in_flight: int
    costs: Costs
    holds: Amounts
    """What it has of the node now; while RISING already all that it will have when awake."""
    needs: Amounts
    """What it has of the node when awake."""
    keeps: Amounts
    """What it will have of the node once asleep, as its eviction says; while SINKING, once it has arrived there."""
    least: Amounts | None = None
    """What it has at the bottom of its ladder, however often it is deepened; None: no less than `keeps`."""
    deeper: Amounts | None = None
    """RESTING only: what it would have one rung deeper (to disk, then stopped); None at the bottom."""
    deepen_at: float | None = None
    """RESTING only: when its ladder says that it goes one rung deeper."""
    sleep_refused: bool = False
    """Its last sleep failed, and is not to be asked for again yet."""


@dataclass(frozen=True)
class Demand:
    """What is wanted of one model, and the rules that it has."""

    model: str
    waiting: int = 0
    """Requests that wait for it to serve."""
    by_hand: int = 0
    """Those of them that somebody has made to have it woken, and that ask nothing of it."""
    at_once: bool = False
    """One of these is to be served before all others: whoever is in the way sleeps, unless pinned."""
    oldest: float | None = None
    """When the longest waiting of these came."""
    turn_ended: float | None = None
    """When its last replica that served began to go to sleep; None where it has never served. Requests that its engines
    left behind then wait for the next turn from this moment."""
    priority: int = 0
    """Of the most urgent of these; more goes first."""
    weight: float = 1.0
    """Its share of awake time among models that want it, relative to the others'."""
    awake_lately: float = 0.0
    """Seconds of awake time that it has had, older ones counting less."""
    pinned: bool = False
    """It never sleeps for another."""
    wanted: bool = False
    """It is to be awake without a request: preloaded, or by its schedule."""
    min_awake: float = 0.0
    """Seconds that it stays awake, once it is, before it may sleep for another."""
    ttl: float | None = None
    """Seconds without a request after which it sleeps by itself."""


@dataclass(frozen=True)
class Snapshot:
    """The node at one moment.

    Requests that a replica AWAKE has room for are handed to it before a snapshot is made: one that is AWAKE with
    nothing in flight while its model has requests waiting is taken to be about to get them.
    """

    now: float
    capacity: Amounts
    replicas: tuple[Replica, ...]
    demands: Mapping[str, Demand]
    """By model; every replica's model is there."""


@dataclass(frozen=True)
class Wake:
    """Bring this replica to serve. What it needs is free at this moment."""

    replica: str
    why: str
    by_hand: bool = False
    """Somebody has asked for it: it is no wish of the policy's."""


@dataclass(frozen=True)
class Sleep:
    """Put this replica to sleep, as deep as it is configured."""

    replica: str
    why: str
    by_hand: bool = False


@dataclass(frozen=True)
class Deepen:
    """Let this resting replica go one rung deeper, without waking it."""

    replica: str
    why: str
    by_hand: bool = False


Action = Wake | Sleep | Deepen


class Rule(StrEnum):
    """What keeps an awake replica from making room for a model that waits."""

    MIN_AWAKE = "min_awake"  # it has not been awake for as long as it may be at least
    TURN = "turn"  # it is busy, and the policy lets it have its turn
    PINNED = "pinned"  # it never sleeps for another
    SLEEP_FAILED = "sleep_failed"  # its last sleep did, and is not to be asked for again yet


@dataclass(frozen=True)
class Wait:
    """A model's turn that does not come yet."""

    model: str
    holder: str
    """The replica in its way that may be the first to go."""
    rule: Rule
    """What keeps it there."""
    until: float | None
    """When that no longer does; None: not by time alone."""


@dataclass(frozen=True)
class Decisions:
    """What is to be done now. Each action may be begun at once, all together."""

    actions: tuple[Action, ...] = ()
    look_again_at: float | None = None
    """When to decide again even if nothing has changed until then."""
    hopeless: Mapping[str, str] = field(default_factory=dict)
    """Models with waiting requests that cannot be had as things stand, with the reason: their requests are refused."""
    waits: tuple[Wait, ...] = ()
    """Those whom a rule keeps waiting; of those for whom room is being made already there is none."""


Policy = Callable[[Snapshot], Decisions]
