"""What protects a replica from having to make room for a waiting model, and until when. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from llmux.server.scheduling.ranking import NEVER, Ranking
from llmux.server.scheduling.snapshot import Amounts, Demand, Replica, Rule, Snapshot, Wait
from llmux.server.scheduling.victims import is_busy


def protection(model: str, ranking: Ranking, replica: Replica, demand: Demand) -> tuple[float, Rule | None]:
    """Return from when on an awake replica may be put to sleep for this waiting model, and what rule says so.

    No rule: it is about to get requests, and then another look is taken.
    """
    if demand.pinned:
        return NEVER, Rule.PINNED
    if replica.sleep_refused:
        return NEVER, Rule.SLEEP_FAILED
    if demand.waiting and not replica.in_flight:
        return NEVER, None
    floor = replica.since + demand.min_awake
    if is_busy(replica, demand) and (push_at := ranking.push_at(model, replica)) > floor:
        return push_at, Rule.TURN
    return floor, Rule.MIN_AWAKE


def held_up(
    snapshot: Snapshot, model: str, ranking: Ranking, awake: Iterable[Replica], lacking: Amounts
) -> Wait | None:
    """Return whom of those who have something of what is lacking this model waits for first; None for none of them."""
    protected = (
        (replica, *protection(model, ranking, replica, snapshot.demands[replica.model]))
        for replica in awake
        if any(replica.holds.get(name, 0) > 0 for name in lacking)
    )
    waits = [
        Wait(model, replica.name, rule, None if until == NEVER else until)
        for replica, until, rule in protected
        if rule is not None and until > snapshot.now
    ]
    return min(
        waits, key=lambda each: (NEVER if each.until is None else each.until, each.holder), default=None
    )
