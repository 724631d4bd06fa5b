"""Fair shares of awake time, few switches, and a bound on every wait. Pure.

As long as every waiting model can still be given its turn in time, one after the other in the order of their
deadlines and each as slowly as it may, the policy is free: it keeps busy models awake until their wake has paid off
and prefers who has had the least of its share. From the last moment on at which that is so, it goes by the deadlines
alone. docs/scheduling.md has the proof.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmux.server.scheduling.bound import Terms, terms
from llmux.server.scheduling.ranking import NEVER, Ranking, waiting, waits_since
from llmux.server.scheduling.snapshot import Decisions, Demand, Replica, Snapshot
from llmux.server.scheduling.turns import decide


@dataclass(frozen=True)
class Fair:
    """The default policy."""

    max_wait: float = 60.0
    """Seconds that no request waits longer for its model's turn, where the node can hold that; see `bound`."""
    quantum: float = 2.0
    """Seconds that a busy model serves at least, once it is awake."""
    amortization_factor: float = 1.0
    """While free: a busy model serves for as long as this many switches take before it makes room."""

    def __call__(self, snapshot: Snapshot) -> Decisions:
        """Decide for this moment."""
        by_deadline = sorted(waiting(snapshot), key=lambda d: (waits_since(d, snapshot.now), d.model))
        start = latest_start(by_deadline, terms(snapshot, self.quantum), self.max_wait, snapshot.now)
        if start <= snapshot.now:
            turns = tuple(d.model for d in by_deadline)
            return decide(snapshot, Ranking(turns, self._after_quantum, frozenset(turns)))
        turns = tuple(d.model for d in sorted(by_deadline, key=_by_share))
        return decide(snapshot, Ranking(turns, self._paid_off(snapshot), frozenset(), start))

    def _after_quantum(self, _model: str, victim: Replica) -> float:
        return victim.since + self.quantum

    def _paid_off(self, snapshot: Snapshot) -> Callable[[str, Replica], float]:
        wake = terms(snapshot, self.quantum).wake

        def push_at(model: str, victim: Replica) -> float:
            return victim.since + max(
                self.quantum, self.amortization_factor * (victim.costs.sleep + wake[model])
            )

        return push_at


def latest_start(by_deadline: list[Demand], worst: Terms, max_wait: float, now: float) -> float:
    """Return the last moment at which turns by deadline alone, each as slow as it may be, are all in time."""
    start, ahead = NEVER, worst.blocking
    for demand in by_deadline:
        ahead += worst.turn(demand.model)
        start = min(start, waits_since(demand, now) + max_wait - ahead)
    return start


def _by_share(demand: Demand) -> tuple[int, float, str]:
    return -demand.priority, demand.awake_lately / demand.weight, demand.model
