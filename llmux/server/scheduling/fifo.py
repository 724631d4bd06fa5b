"""First come, first served: who has waited longest goes next, and whoever is awake makes room. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from llmux.server.scheduling.ranking import AT_ONCE, Ranking, waiting, waits_since
from llmux.server.scheduling.snapshot import Decisions, Demand, Replica, Snapshot
from llmux.server.scheduling.turns import decide


@dataclass(frozen=True)
class Fifo:
    """A more urgent model goes first; among equals the one whose request came first. Only `min_awake` protects."""

    def __call__(self, snapshot: Snapshot) -> Decisions:
        """Decide for this moment."""

        def place(demand: Demand) -> tuple[int, float, str]:
            return -demand.priority, waits_since(demand, snapshot.now), demand.model

        turns = tuple(d.model for d in sorted(waiting(snapshot), key=place))
        return decide(snapshot, Ranking(turns, _at_once, frozenset(turns)))


def _at_once(_model: str, _victim: Replica) -> float:
    return AT_ONCE
