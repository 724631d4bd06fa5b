"""From what llmux knows of its models to what the control API answers."""

from __future__ import annotations

import time
from typing import Literal, assert_never

from llmux.server._adapters import Adapters
from llmux.server._hands import Life, Stored
from llmux.server._model import (
    Asleep,
    Deepening,
    Draining,
    Eviction,
    Failed,
    GoingToSleep,
    Running,
    Starting,
    State,
    Wake,
    Waking,
    name_of,
)
from llmux.server._record import Anew, Gone, Model, Moved, Orders, Replica
from llmux.server._reload import Reload
from llmux.server._scheduler import NodeStatus
from llmux.server.control._answers import (
    AdapterTold,
    CheckpointTold,
    EngineTold,
    EvictionTold,
    ModelStatus,
    MoveTold,
    NodeTold,
    ReloadTold,
    ReplicaStatus,
    StateName,
    WakeTold,
)
from llmux.server.control._told_gpus import Seen, Shares, gpu_memory_told, gpus_told
from llmux.server.control._told_parts import iso, problem_told
from llmux.server.errors import Problem


def model_told(model: Model, adapters: Adapters, shares: Shares) -> ModelStatus:
    """Return one model as its foremost replica is, and each of its replicas."""
    first = replica_told(foremost(model), model, shares)
    of_all = {
        "in_flight": sum(len(each.flights) for each in model.replicas),
        "gpu_memory": gpu_memory_told(model.replicas, shares),
    }
    return ModelStatus(
        **{**dict(first), **of_all},
        held=len(model.queue),
        pinned=model.rules.pinned,
        draining=model.draining,
        replicas={each.name: replica_told(each, model, shares) for each in model.replicas},
        adapters=_adapters(model, adapters),
    )


def foremost(model: Model) -> Replica:
    """Return the replica that serves, or is the nearest to it."""
    order = (Running, Draining, Waking, Starting)
    ranks = {kind: rank for rank, kind in enumerate(order)}
    return min(model.replicas, key=lambda each: ranks.get(type(each.state), len(order)))


def replica_told(replica: Replica, model: Model, shares: Shares) -> ReplicaStatus:
    """Return one engine of a model."""
    state = replica.state
    return ReplicaStatus(
        state=StateName(name_of(state)),
        becomes=_becoming(replica),
        since=moment(state.since),
        eviction=eviction_told(_eviction_of(state, model.rules.eviction)),
        in_flight=len(replica.flights),
        engine=engine_told(replica.life),
        checkpoint=checkpoint_told(replica.stored),
        checkpoint_problem=problem_told(replica.checkpoint_problem),
        last_wake=wake_told(replica.last_wake),
        last_move=_move(replica.last_move),
        problem=problem_told(_problem_of(state)),
        phase=replica.step and replica.step.phase,
        gpu_memory=gpu_memory_told((replica,), shares),
    )


def node_told(node: NodeStatus, orders: Orders, gpus: Seen | None) -> NodeTold:
    """Return what the node has."""
    return NodeTold(
        policy=node.policy,
        mode="manual" if orders.manual else "auto",
        draining=orders.draining,
        longest_wait_seconds=node.bound and round(node.bound, 3),
        capacity=dict(node.capacity),
        held=dict(node.held),
        gpus=gpus_told(gpus) if gpus else (),
        gpus_at=iso(gpus.sight.at) if gpus and gpus.sight.at else None,
    )


def reload_told(reload: Reload) -> ReloadTold:
    """Return what a reload has come to."""
    changes = reload.changes
    return ReloadTold(
        at=iso(reload.at),
        problem=problem_told(reload.problem),
        added=tuple(changes.added),
        removed=tuple(changes.removed),
        changed={change.name: tuple(change.fields) for change in changes.changed},
        node=tuple(changes.node),
        engines_anew=reload.anew,
    )


def engine_told(life: Life | None) -> EngineTold | None:
    """Return an engine, where one runs."""
    return (
        None
        if life is None
        else EngineTold(
            pid=life.pid,
            init_pid=life.init_pid,
            started_at=iso(life.started_at),
            url=str(life.url),
            log=str(life.log),
        )
    )


def checkpoint_told(stored: Stored | None) -> CheckpointTold | None:
    """Return a checkpoint, where there is one."""
    return (
        None
        if stored is None
        else CheckpointTold(
            path=str(stored.path),
            bytes=stored.size_bytes,
            seconds=round(stored.seconds, 3),
            generation=stored.generation,
            created_at=iso(stored.created_at),
        )
    )


def wake_told(wake: Wake | None) -> WakeTold | None:
    """Return how a model came to serve, where it did."""
    return (
        None
        if wake is None
        else WakeTold(
            kind=wake.kind, seconds=round(wake.seconds, 3), at=iso(wake.at), reason=wake.reason or None
        )
    )


def eviction_told(eviction: Eviction) -> EvictionTold:
    """Return how deep a sleep is."""
    return EvictionTold(weights=eviction.weights, process=eviction.process)


def moment(monotonic: float) -> str:
    """Return a time of the monotonic clock for people."""
    return iso(time.time() - (time.monotonic() - monotonic))


def _move(moved: Moved | None) -> MoveTold | None:
    return None if moved is None else MoveTold(what=moved.what, why=moved.why, at=iso(moved.at))


def _adapters(model: Model, adapters: Adapters) -> dict[str, AdapterTold]:
    paths = model.rules.adapters
    return {
        name: AdapterTold(path=paths[name], loaded_by=replicas)
        for name, replicas in adapters.loaded(model).items()
    }


def _becoming(replica: Replica) -> Literal["anew", "gone"] | None:
    match replica.becomes:
        case None:
            return None
        case Anew():
            return "anew"
        case Gone():
            return "gone"
        case _:
            assert_never(replica.becomes)


def _eviction_of(state: State, configured: Eviction) -> Eviction:
    match state:
        case Draining() | GoingToSleep() | Asleep() | Deepening() | Waking():
            return state.eviction
        case _:
            return configured


def _problem_of(state: State) -> Problem | None:
    match state:
        case Failed(why=problem):
            return problem
        case Running(sleep_failed=problem) | GoingToSleep(failed=problem) | Asleep(problem=problem):
            return problem
        case _:
            return None
