"""Wakes whom the measured costs make worthwhile: a switch has to be paid for by the requests that it serves. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from llmux.server.scheduling.ranking import AT_ONCE, Ranking, waiting, waits_since
from llmux.server.scheduling.snapshot import Decisions, Demand, Phase, Replica, Snapshot
from llmux.server.scheduling.turns import decide


@dataclass(frozen=True)
class CostAware:
    """A busy model serves for as long as the next switch would take, and then until that switch is worthwhile."""

    amortization_factor: float = 0.5
    """Requests that make one second of switching worthwhile; 0: every switch is."""
    coalesce_window: float = 2.0
    """Seconds in which more requests may come before a switch for too few of them begins."""
    max_wait: float = 15.0
    """Seconds after which a request is not weighed any more."""

    def __call__(self, snapshot: Snapshot) -> Decisions:
        """Decide for this moment."""
        demands = waiting(snapshot)
        stale = {d.model for d in demands if waits_since(d, snapshot.now) + self.max_wait <= snapshot.now}

        def place(demand: Demand) -> tuple[bool, int, float, float, str]:
            since = waits_since(demand, snapshot.now)
            if demand.model in stale:
                return False, 0, since, since, demand.model
            return (
                True,
                -demand.priority,
                -demand.waiting / (_wake(snapshot, demand.model) + 0.001),
                since,
                demand.model,
            )

        def push_at(model: str, victim: Replica) -> float:
            demand = snapshot.demands[model]
            since = waits_since(demand, snapshot.now)
            cost = victim.costs.sleep + _wake(snapshot, model)
            enough = demand.waiting >= self.amortization_factor * cost
            worthwhile = AT_ONCE if enough else since + self.coalesce_window
            return min(since + self.max_wait, max(victim.since + cost, worthwhile))

        turns = tuple(d.model for d in sorted(demands, key=place))
        times = (at for d in demands if (at := waits_since(d, snapshot.now) + self.max_wait) > snapshot.now)
        return decide(snapshot, Ranking(turns, push_at, frozenset(stale), min(times, default=float("inf"))))


def _wake(snapshot: Snapshot, model: str) -> float:
    """Return the cheapest wake among the model's replicas."""
    resting = [r.costs.wake for r in snapshot.replicas if r.model == model and r.phase is Phase.RESTING]
    return min(resting, default=0.0)
