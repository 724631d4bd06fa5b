"""Fair shares of awake time, few switches, and a bound on every wait. Pure.

As long as every waiting model can still be given its turn in time, one after the other in the order of their
deadlines and each as slowly as it may, the policy is free. It divides what time there is: a busy model that has more
requests than it can take keeps its place for its share, by weight, of the time until the first deadline; one that
takes all of its requests keeps it until its switch has paid off, if it answers at least as many as wait elsewhere. From the
last moment on at which every turn would still be in time, it goes by the deadlines alone, each turn no longer than a
quantum. docs/scheduling.md states the bound and proves it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmux.server.scheduling.bound import Terms, terms
from llmux.server.scheduling.ranking import NEVER, Ranking, waiting, waits_since
from llmux.server.scheduling.snapshot import Decisions, Demand, Replica, Snapshot
from llmux.server.scheduling.turns import decide

PushAt = Callable[[str, Replica], float]


@dataclass(frozen=True)
class Fair:
    """The default policy."""

    max_wait: float = 60.0
    """Seconds that no request waits longer for its model's turn, where the node can hold that; see `bound`."""
    quantum: float = 2.0
    """Seconds that a busy model with requests left over serves at least, once it is awake."""
    amortization_factor: float = 1.0
    """A busy model is kept awake for as long as this many switches take before it makes room."""

    def __call__(self, snapshot: Snapshot) -> Decisions:
        """Decide for this moment."""
        worst = self.terms(snapshot)
        demands = sorted(waiting(snapshot), key=lambda d: _deadline_first(d, snapshot.now))
        start = latest_start(demands, worst, worst.bound(self.max_wait), snapshot.now)
        if start <= snapshot.now:
            turns = tuple(d.model for d in demands)
            return decide(snapshot, Ranking(turns, self._after_quantum(snapshot), frozenset(turns)))
        turns = tuple(d.model for d in sorted(demands, key=lambda d: -d.priority))
        return decide(snapshot, Ranking(turns, self._paid_off(snapshot, demands, worst), frozenset(), start))

    def terms(self, snapshot: Snapshot) -> Terms:
        """Return what the bound is made of for these replicas."""
        return terms(snapshot, self.full_quantum)

    def bound(self, snapshot: Snapshot) -> float:
        """Return how many seconds a request can wait for its model's turn: `max_wait`, or a round if that is more."""
        return self.terms(snapshot).bound(self.max_wait)

    def full_quantum(self, replica: Replica) -> float:
        """Return how long a busy replica with requests left over serves before a deadline can push it out."""
        return max(self.quantum, self.amortization_factor * (replica.costs.sleep + replica.costs.wake))

    def _after_quantum(self, snapshot: Snapshot) -> PushAt:
        def push_at(_model: str, victim: Replica) -> float:
            has_more = snapshot.demands[victim.model].waiting > 0
            return victim.since + (self.full_quantum(victim) if has_more else 0.0)

        return push_at

    def _paid_off(self, snapshot: Snapshot, demands: Sequence[Demand], worst: Terms) -> PushAt:
        waiting_elsewhere = sum(d.waiting for d in demands)
        spare = max(
            0.0, worst.bound(self.max_wait) - worst.blocking - sum(worst.turn(d.model) for d in demands)
        )
        first = min((waits_since(d, snapshot.now) for d in demands), default=NEVER)
        weights = sum(d.weight for d in demands)

        def push_at(model: str, victim: Replica) -> float:
            holder = snapshot.demands[victim.model]
            if holder.waiting:
                share = spare * holder.weight / (weights + holder.weight)
                return victim.since + max(self.full_quantum(victim), share)
            if victim.in_flight <= waiting_elsewhere:
                return victim.since
            since = max(victim.since, first)
            return since + self.amortization_factor * (victim.costs.sleep + worst.wake[model])

        return push_at


def latest_start(by_deadline: Sequence[Demand], worst: Terms, bound: float, now: float) -> float:
    """Return the last moment at which turns by deadline alone, each as slow as it may be, are all in time."""
    start, ahead = NEVER, worst.blocking
    for demand in by_deadline:
        ahead += worst.turn(demand.model)
        start = min(start, waits_since(demand, now) + bound - ahead)
    return start


def _deadline_first(demand: Demand, now: float) -> tuple[float, float, str]:
    return waits_since(demand, now), demand.awake_lately / demand.weight, demand.model
