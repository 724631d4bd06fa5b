"""Snapshots for the tests of scheduling: one node, models by name, and what becomes of them when actions are begun."""

from __future__ import annotations

from dataclasses import replace

from llmux.server.scheduling.snapshot import (
    Action,
    Amounts,
    Costs,
    Deepen,
    Demand,
    Phase,
    Replica,
    Sleep,
    Snapshot,
    Wake,
)

NOW = 1000.0
COSTS = Costs(wake=4.0, sleep=2.0, drain=3.0)


def resting(name: str, needs: Amounts, **fields) -> Replica:
    """Return a replica that sleeps and keeps nothing, not used for a long time."""
    given = {
        "model": name,
        "since": 0.0,
        "last_used": 0.0,
        "in_flight": 0,
        "costs": COSTS,
        "holds": {},
        "keeps": {},
    }
    return Replica(name=name, phase=Phase.RESTING, needs=needs, **(given | fields))


def awake(name: str, needs: Amounts, **fields) -> Replica:
    """Return a replica that serves, and has nothing to do."""
    return replace(resting(name, needs, **fields), phase=Phase.AWAKE, holds=needs)


def busy(name: str, needs: Amounts, **fields) -> Replica:
    """Return a replica that answers a request."""
    return awake(name, needs, **({"in_flight": 1, "last_used": NOW} | fields))


def node(
    capacity: Amounts, *replicas: Replica, demands: tuple[Demand, ...] = (), now: float = NOW
) -> Snapshot:
    """Return a snapshot; models without a demand have an empty one."""
    by_model = {r.model: Demand(r.model) for r in replicas} | {d.model: d for d in demands}
    return Snapshot(now=now, capacity=capacity, replicas=replicas, demands=by_model)


def wants(model: str, waiting: int = 1, since: float = NOW - 1, **fields) -> Demand:
    """Return the demand of a model with requests waiting."""
    return Demand(model, waiting=waiting, oldest=since, **fields)


def after(snapshot: Snapshot, actions: tuple[Action, ...]) -> Snapshot:
    """Return the node once these actions have begun."""
    by_name = {r.name: r for r in snapshot.replicas}
    for action in actions:
        by_name[action.replica] = _begin(by_name[action.replica], action, snapshot.now)
    return replace(snapshot, replicas=tuple(by_name.values()))


def _begin(replica: Replica, action: Action, now: float) -> Replica:
    match action:
        case Wake():
            assert replica.phase is Phase.RESTING
            holds = {
                n: max(replica.holds.get(n, 0), replica.needs.get(n, 0))
                for n in {**replica.holds, **replica.needs}
            }
            return replace(replica, phase=Phase.RISING, since=now, holds=holds)
        case Sleep():
            assert replica.phase is Phase.AWAKE
            keeps = replica.keeps
        case Deepen():
            assert replica.phase is Phase.RESTING
            assert replica.deeper is not None
            keeps = replica.deeper
    # Until it has arrived it has both what it had and what it comes to.
    holds = {n: max(replica.holds.get(n, 0), keeps.get(n, 0)) for n in {**replica.holds, **keeps}}
    return replace(replica, phase=Phase.SINKING, since=now, holds=holds, keeps=keeps, deepen_at=None)


def held(snapshot: Snapshot) -> dict[str, int]:
    """Return what all replicas have together."""
    return {name: sum(r.holds.get(name, 0) for r in snapshot.replicas) for name in snapshot.capacity}
