"""Awake time in slices: a busy model keeps its place for whole ticks, at least a quantum of them. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmux.server.scheduling.ranking import Ranking, waiting, waits_since
from llmux.server.scheduling.snapshot import Decisions, Demand, Replica, Snapshot
from llmux.server.scheduling.turns import decide


@dataclass(frozen=True)
class TimeSlice:
    """The model with the most requests waiting goes next; one whose request has become stale goes before it."""

    tick: float = 0.5
    """Seconds; a slice lasts a whole number of these."""
    min_quantum: float = 2.0
    """Seconds that a slice of a busy model lasts at least."""
    max_wait: float = 15.0
    """Seconds after which a request goes before others' numbers, and ends a slice."""

    def __call__(self, snapshot: Snapshot) -> Decisions:
        """Decide for this moment."""
        demands = waiting(snapshot)
        since = {d.model: waits_since(d, snapshot.now) for d in demands}
        stale = frozenset(model for model, at in since.items() if at + self.max_wait <= snapshot.now)
        slice_length = self.tick * max(1, math.ceil(self.min_quantum / self.tick))

        def place(demand: Demand) -> tuple[bool, int, int, float, str]:
            at = since[demand.model]
            if demand.model in stale:
                return False, 0, 0, at, demand.model
            return True, -demand.priority, -demand.waiting, at, demand.model

        def push_at(model: str, victim: Replica) -> float:
            return min(since[model] + self.max_wait, victim.since + slice_length)

        turns = tuple(d.model for d in sorted(demands, key=place))
        times = (at + self.max_wait for at in since.values() if at + self.max_wait > snapshot.now)
        return decide(snapshot, Ranking(turns, push_at, stale, min(times, default=float("inf"))))
