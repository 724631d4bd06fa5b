"""How long until a model serves: an estimate from what the scheduler knows, for Retry-After. Pure.

It looks at what is under way and what each step has cost so far; it does not ask the policy, so it can be off by a turn.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmux.server.scheduling import amounts
from llmux.server.scheduling.snapshot import Demand, Phase, Replica, Snapshot

_OVERDUE = 0.25
"""What takes longer than it used to is taken to need this share of its usual time again."""


def until_served(snapshot: Snapshot, model: str, pauses: Mapping[str, float]) -> float:
    """Return the seconds until the first replica of `model` serves.

    `pauses` says for a replica that has failed how long it is not started again, by its name.
    """
    replicas = [each for each in snapshot.replicas if each.model == model]
    return min(_until(snapshot, each, pauses.get(each.name, 0.0)) for each in replicas)


def until_any_served(snapshot: Snapshot, pauses: Mapping[str, float]) -> float:
    """Return the seconds until the first of the models that somebody waits for serves, and so makes room in the queues."""
    waited_for = [name for name, demand in snapshot.demands.items() if demand.waiting]
    return min((until_served(snapshot, name, pauses) for name in waited_for), default=0.0)


def _until(snapshot: Snapshot, replica: Replica, pause: float) -> float:
    costs, passed = replica.costs, snapshot.now - replica.since
    match replica.phase:
        case Phase.AWAKE:
            return 0.0
        case Phase.RISING:
            return _left(costs.wake, passed)
        case Phase.SINKING:
            drain = costs.drain if replica.in_flight else 0.0
            return _left(drain + costs.sleep, passed) + costs.wake
        case Phase.RESTING | Phase.DOWN:
            return max(pause, _until_room(snapshot, replica)) + costs.wake


def _left(usual: float, passed: float) -> float:
    return max(usual - passed, usual * _OVERDUE)


def _until_room(snapshot: Snapshot, replica: Replica) -> float:
    """Return how long until others have made room for it, those first that somebody has waited for longer."""
    room = amounts.left(snapshot.capacity, (each.holds for each in snapshot.replicas))
    if amounts.fits(amounts.more(replica.needs, replica.holds), room):
        return 0.0
    leaving = [
        _until_asleep(snapshot, each) for each in snapshot.replicas if _may_leave(snapshot, each, replica)
    ]
    turns = (_turn(snapshot, name) for name in snapshot.demands if _goes_first(snapshot, name, replica.model))
    return min(leaving, default=0.0) + sum(turns)


def _may_leave(snapshot: Snapshot, other: Replica, replica: Replica) -> bool:
    awake = other.phase in {Phase.AWAKE, Phase.RISING, Phase.SINKING}
    return awake and other.model != replica.model and not snapshot.demands[other.model].pinned


def _until_asleep(snapshot: Snapshot, replica: Replica) -> float:
    costs, passed = replica.costs, snapshot.now - replica.since
    drain = costs.drain if replica.in_flight else 0.0
    least = snapshot.demands[replica.model].min_awake
    match replica.phase:
        case Phase.SINKING:
            return _left(drain + costs.sleep, passed)
        case Phase.RISING:
            return _left(costs.wake, passed) + least + costs.sleep
        case _:
            return max(0.0, least - passed) + drain + costs.sleep


def _goes_first(snapshot: Snapshot, name: str, model: str) -> bool:
    """Say whether another model's turn is before this one's: somebody waits for it who is more urgent, or came earlier."""
    if name == model or not snapshot.demands[name].waiting:
        return False
    serves = any(each.model == name and each.phase is not Phase.RESTING for each in snapshot.replicas)
    return not serves and _order(snapshot, name) < _order(snapshot, model)


def _order(snapshot: Snapshot, name: str) -> tuple[int, float]:
    demand: Demand = snapshot.demands[name]
    return (-demand.priority, snapshot.now if demand.oldest is None else demand.oldest)


def _turn(snapshot: Snapshot, name: str) -> float:
    """Return what a turn of a model takes at least: its wake, its least time awake and its sleep."""
    costs = min((each.costs for each in snapshot.replicas if each.model == name), key=lambda each: each.wake)
    return costs.wake + snapshot.demands[name].min_awake + costs.sleep
