"""How long a request can wait for its model's turn under the policy `fair`: the terms of its bound. Pure.

docs/scheduling.md states the bound with its assumptions and proves it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmux.server.scheduling.snapshot import Demand, Replica, Snapshot


@dataclass(frozen=True)
class Terms:
    """The worst that one turn can take, in seconds, over every choice of whom it falls to make room."""

    clear: float
    """Until every replica that is in the way has had its least time awake, has drained and sleeps."""
    blocking: float
    """Until a switch that has begun is over, however it was chosen."""
    wake: Mapping[str, float]
    """Each model's wake."""

    def turn(self, model: str) -> float:
        """Return the worst from being first in the order to serving."""
        return self.clear + self.wake[model]

    @property
    def round(self) -> float:
        """The worst of a whole round: everybody's turn, and one switch that was under way when it began."""
        return self.blocking + sum(self.turn(model) for model in self.wake)

    def bound(self, max_wait: float) -> float:
        """Return how long a request can wait for its model's turn: `max_wait`, where the node can hold it."""
        return max(max_wait, self.round)


def terms(snapshot: Snapshot, quantum: Callable[[Replica], float]) -> Terms:
    """Return the terms for these replicas, where a busy one is left its `quantum` before it is pushed out."""
    sleepers = [
        (r, snapshot.demands[r.model]) for r in snapshot.replicas if not snapshot.demands[r.model].pinned
    ]
    wake: dict[str, float] = {}
    for replica in snapshot.replicas:
        wake[replica.model] = max(wake.get(replica.model, 0.0), replica.costs.wake)
    return Terms(
        clear=max((_clear(r, d, quantum(r)) for r, d in sleepers), default=0.0),
        blocking=max((r.costs.drain + r.costs.sleep for r, _ in sleepers), default=0.0)
        + max(wake.values(), default=0.0),
        wake=wake,
    )


def _clear(replica: Replica, demand: Demand, quantum: float) -> float:
    return max(demand.min_awake, quantum) + replica.costs.drain + replica.costs.sleep
