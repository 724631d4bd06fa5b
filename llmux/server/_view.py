"""The models as a scheduling policy sees them: records to a Snapshot. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from llmux.server._model import (
    Asleep,
    Deepening,
    Draining,
    Eviction,
    Failed,
    GoingToSleep,
    NotStarted,
    Process,
    Running,
    Starting,
    State,
    Waking,
)
from llmux.server._queue import Errand
from llmux.server._record import Model, Replica
from llmux.server._rules import Restart, Rules
from llmux.server.scheduling.account import Account
from llmux.server.scheduling.snapshot import Amounts, Costs, Demand, Phase, Snapshot
from llmux.server.scheduling.snapshot import Replica as Seen

SLEEP_AGAIN_AFTER = 30.0
"""Seconds after a failed sleep in which the scheduler does not ask for another."""


def view(models: Iterable[Model], capacity: Amounts, account: Account, now: float) -> Snapshot:
    """Return what a policy sees at `now`; `account` says how much awake time each model has had."""
    models = tuple(models)
    return Snapshot(
        now,
        capacity,
        tuple(_replica(each, model.rules, now) for model in models for each in model.replicas),
        {model.name: _demand(model, account) for model in models},
    )


def awake(models: Iterable[Model]) -> tuple[str, ...]:
    """Return the models that serve, each as often as it has replicas that do."""
    return tuple(
        model.name
        for model in models
        for each in model.replicas
        if isinstance(each.state, Running | Draining)
    )


def next_change(models: Iterable[Model], now: float) -> float | None:
    """Return when time alone next changes what `view` shows."""
    times = (
        at
        for model in models
        for each in model.replicas
        for at in (_started_again_at(each.state, model.rules.restart), _asked_again_at(each.state))
        if at is not None and at > now
    )
    return min(times, default=None)


def pauses(models: Iterable[Model], now: float) -> dict[str, float]:
    """Return how many seconds those replicas that have failed are not started again, by name."""
    return {
        each.name: max(0.0, at - now)
        for model in models
        for each in model.replicas
        if (at := _started_again_at(each.state, model.rules.restart)) is not None
    }


def given_up(state: State, restart: Restart) -> bool:
    """Say whether a replica has failed so often that it is not started again by itself."""
    return isinstance(state, Failed) and state.failures > restart.limit


def _replica(replica: Replica, rules: Rules, now: float) -> Seen:
    state = replica.state
    eviction = _sleep_of(state, rules.eviction)
    deeper = rules.deeper(eviction) if isinstance(state, Asleep) else None
    asked_again = _asked_again_at(state)
    return Seen(
        name=replica.name,
        model=replica.model,
        phase=Phase.SINKING if replica.becomes else _phase(state, rules.restart, now),
        since=state.since,
        last_used=replica.last_used,
        in_flight=len(replica.flights),
        costs=_costs(replica, rules, eviction),
        holds=_with_images(_holds(replica, eviction), replica),
        needs=_with_images(replica.sizes.awake, replica),
        keeps={} if replica.becomes else _with_images(replica.sizes.when(_arrival(state, eviction)), replica),
        least={},
        deeper=None if deeper is None else replica.sizes.when(deeper),
        deepen_at=rules.deepen_at(eviction, replica.asleep_since) if deeper else None,
        sleep_refused=asked_again is not None and now < asked_again,
    )


def _costs(replica: Replica, rules: Rules, eviction: Eviction) -> Costs:
    nothing_left = isinstance(replica.state, NotStarted | Starting | Failed)
    sleeps = Process.STOP if nothing_left else eviction.process
    return Costs(replica.takes.wake[sleeps], replica.takes.sleep[rules.eviction.process], rules.drain.seconds)


def _demand(model: Model, account: Account) -> Demand:
    rules = model.rules
    return Demand(
        model=model.name,
        waiting=len(model.queue),
        by_hand=len(model.queue) - model.queue.asked(Errand.REQUEST),
        at_once=model.queue.asked(Errand.SWITCH) > 0,
        oldest=model.queue.oldest,
        turn_ended=model.turn_ended,
        priority=model.queue.priority,
        weight=rules.weight,
        awake_lately=account.of(model.name),
        pinned=rules.pinned,
        wanted=(rules.preload or rules.pinned or model.scheduled) and not model.at_rest_by_hand,
        min_awake=rules.min_awake,
        ttl=rules.ttl,
    )


def _phase(state: State, restart: Restart, now: float) -> Phase:
    match state:
        case NotStarted() | Asleep():
            return Phase.RESTING
        case Starting() | Waking():
            return Phase.RISING
        case Running():
            return Phase.AWAKE
        case Draining() | GoingToSleep() | Deepening():
            return Phase.SINKING
        case Failed():
            again = _started_again_at(state, restart)
            return Phase.DOWN if again is None or now < again else Phase.RESTING
        case _:
            assert_never(state)


def _sleep_of(state: State, configured: Eviction) -> Eviction:
    match state:
        case Draining() | GoingToSleep() | Asleep() | Deepening() | Waking():
            return state.eviction
        case _:
            return configured


def _arrival(state: State, eviction: Eviction) -> Eviction:
    """Return the sleep that it is on its way to, or would go to."""
    return state.to if isinstance(state, Deepening) else eviction


def _holds(replica: Replica, eviction: Eviction) -> Amounts:
    match replica.state:
        case NotStarted() | Failed():
            return {}
        case Asleep() | Deepening():
            return replica.sizes.when(eviction)
        case _:
            return replica.sizes.awake


def _with_images(amounts: Amounts, replica: Replica) -> Amounts:
    """Add what its checkpoint takes on disk, which outlasts a wake."""
    if replica.stored is None:
        return amounts
    return {**amounts, "disk": max(amounts.get("disk", 0), replica.stored.size_bytes)}


def _started_again_at(state: State, restart: Restart) -> float | None:
    if not isinstance(state, Failed) or given_up(state, restart):
        return None
    return state.since + restart.pause(state.failures)


def _asked_again_at(state: State) -> float | None:
    refused = isinstance(state, Running) and state.sleep_failed
    return state.since + SLEEP_AGAIN_AFTER if refused else None
