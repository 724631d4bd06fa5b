"""What one policy differs from another in: who goes first, and whom it may push out when. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmux.server.scheduling.snapshot import Demand, Phase, Replica, Snapshot

NEVER = float("inf")
AT_ONCE = float("-inf")


@dataclass(frozen=True)
class Ranking:
    """A policy's opinion of one snapshot."""

    turns: tuple[str, ...]
    """The models that wait for their turn, who goes first first."""
    push_at: Callable[[str, Replica], float]
    """From when on this model may push out this busy replica; NEVER: not as long as nothing else changes."""
    keeps_place: frozenset[str]
    """The models that nobody behind them may overtake into room that they need, even before they can have it."""
    look_again_at: float = NEVER
    """When this opinion changes by time alone."""


def waiting(snapshot: Snapshot) -> tuple[Demand, ...]:
    """Return the models that have requests waiting and nobody who serves them, or is about to."""
    served = {r.model for r in snapshot.replicas if r.phase in {Phase.AWAKE, Phase.RISING}}
    return tuple(d for d in snapshot.demands.values() if d.waiting and d.model not in served)


def waits_since(demand: Demand, now: float) -> float:
    """Return since when the first of its requests has waited for the turn that comes next."""
    oldest = now if demand.oldest is None else demand.oldest
    return oldest if demand.turn_ended is None else max(oldest, demand.turn_ended)
