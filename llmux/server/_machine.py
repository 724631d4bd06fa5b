"""One replica's life: (state, event, now) to (state, effects). Pure; every pair that is not written here is illegal.

The rules behind it:
- Only a replica that runs has requests in flight; all others wait in the model's queue, whatever becomes of a replica.
- A sleep that fails is tried deeper where the configuration says so, and otherwise leaves the replica running.
- A wake that fails becomes a cold start with the reason kept; and where that fails too, one that sleeps on disk sleeps on.
- A sleep that cannot be deepened stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from llmux.server._depth import KEPT
from llmux.server._model import (
    Adopted,
    Asleep,
    Awake,
    CheckpointFound,
    CheckpointUnusable,
    CutInFlight,
    Deepen,
    DeepenAsked,
    Deepening,
    Drained,
    Draining,
    DrainTimedOut,
    Effect,
    EndEngine,
    EngineLost,
    Event,
    Eviction,
    Failed,
    GoingToSleep,
    Move,
    NotStarted,
    Pardoned,
    Process,
    PutToSleep,
    RefuseWaiting,
    RememberWake,
    Renewed,
    Running,
    SleepAsked,
    SleepFailed,
    Slept,
    StartDrainTimer,
    StartEngine,
    StartFailed,
    Starting,
    State,
    StopDrainTimer,
    WakeAsked,
    WakeEngine,
    WakeFailed,
    Waking,
    name_of,
)
from llmux.server.errors import IllegalMove, Problem

WAS_STOPPED = "its process had been stopped"
WAS_RENEWED = "its configuration has changed"
STABLE_AFTER = 60.0
"""Seconds of running after which earlier failures no longer count, unless something else is said."""


def step(state: State, event: Event, now: float, stable_after: float = STABLE_AFTER) -> Move:
    """Return what `event` makes of a replica in `state` at `now`. Raises IllegalMove for a pair that cannot be."""
    match state:
        case NotStarted():
            move = _not_started(state, event, now)
        case Starting():
            move = _starting(state, event, now)
        case Running():
            move = _running(state, event, now, stable_after)
        case Draining():
            move = _draining(state, event, now)
        case GoingToSleep():
            move = _going_to_sleep(state, event, now)
        case Asleep():
            move = _asleep(state, event, now)
        case Deepening():
            move = _deepening(state, event, now)
        case Waking():
            move = _waking(state, event, now)
        case Failed():
            move = _failed(state, event, now)
        case _:
            assert_never(state)
    return move


def _not_started(state: NotStarted, event: Event, now: float) -> Move:
    match event:
        case CheckpointFound(eviction):
            return Move(Asleep(since=now, eviction=eviction))
        case CheckpointUnusable(problem):
            return Move(replace(state, why=f"its checkpoint cannot be used: {problem}"))
        case Renewed():
            return _renewed(now)
        case Adopted(asleep=None):
            return Move(Running(since=now))
        case Adopted(asleep=Eviction() as eviction):
            return Move(Asleep(since=now, eviction=eviction))
        case WakeAsked():
            return _start(state.why, now)
        case _:
            raise _illegal(state, event)


def _starting(state: Starting, event: Event, now: float) -> Move:
    match event:
        case Awake(wake):
            return Move(Running(since=now, failures=state.failures), (RememberWake(wake),))
        case StartFailed(problem) if state.fallback:
            return Move(
                Asleep(since=now, eviction=state.fallback, problem=problem), (RefuseWaiting(problem),)
            )
        case StartFailed(problem):
            failed = Failed(since=now, why=problem, failures=state.failures + 1)
            return Move(failed, (RefuseWaiting(problem),))
        case _:
            raise _illegal(state, event)


def _running(state: Running, event: Event, now: float, stable_after: float) -> Move:
    match event:
        case SleepAsked(eviction, escalation, busy=True):
            draining = Draining(since=now, eviction=eviction, escalation=escalation)
            return Move(draining, (StartDrainTimer(),))
        case SleepAsked(eviction, escalation):
            return _go_to_sleep(eviction, escalation, now)
        case EngineLost(problem):
            before = 0 if now - state.since > stable_after else state.failures
            return Move(Failed(since=now, why=problem, failures=before + 1), _lose(problem))
        case _:
            raise _illegal(state, event)


def _draining(state: Draining, event: Event, now: float) -> Move:
    match event:
        case Drained():
            move = _go_to_sleep(state.eviction, state.escalation, now)
            return replace(move, effects=(StopDrainTimer(), *move.effects))
        case DrainTimedOut(problem, give_up=True):
            return Move(Running(since=now, sleep_failed=problem))
        case DrainTimedOut(problem):
            return Move(state, (CutInFlight(problem),))
        case SleepAsked(eviction) if eviction == state.eviction:
            return Move(state)
        case EngineLost(problem):
            return Move(Failed(since=now, why=problem), (StopDrainTimer(), *_lose(problem)))
        case _:
            raise _illegal(state, event)


def _going_to_sleep(state: GoingToSleep, event: Event, now: float) -> Move:
    match event:
        case Slept():
            return Move(Asleep(since=now, eviction=state.eviction, problem=state.failed))
        case SleepFailed(problem) if state.escalation:
            deeper, *rest = state.escalation
            return _go_to_sleep(deeper, tuple(rest), now, problem)
        case SleepFailed(problem):
            return Move(Running(since=now, sleep_failed=problem))
        case SleepAsked(eviction) if eviction == state.eviction:
            return Move(state)
        case EngineLost(problem):
            return Move(Failed(since=now, why=problem), (EndEngine(),))
        case _:
            raise _illegal(state, event)


def _asleep(state: Asleep, event: Event, now: float) -> Move:
    match event:
        case WakeAsked() if state.eviction.process is Process.STOP:
            return _start(WAS_STOPPED, now)
        case WakeAsked():
            return Move(Waking(since=now, eviction=state.eviction), (WakeEngine(state.eviction),))
        case SleepAsked(eviction) if eviction == state.eviction:
            return Move(state)
        case DeepenAsked(to):
            deepening = Deepening(since=now, eviction=state.eviction, to=to)
            return Move(deepening, (Deepen(state.eviction, to),))
        case EngineLost(problem) if state.eviction.process in KEPT:
            return Move(Failed(since=now, why=problem), (EndEngine(),))
        case Renewed() if state.eviction.process not in KEPT:
            return _renewed(now)
        case _:
            raise _illegal(state, event)


def _deepening(state: Deepening, event: Event, now: float) -> Move:
    match event:
        case Slept():
            return Move(Asleep(since=now, eviction=state.to))
        case SleepFailed(problem):
            return Move(Asleep(since=now, eviction=state.eviction, problem=problem))
        case SleepAsked(eviction) if eviction == state.to:
            return Move(state)
        case EngineLost(problem):
            return Move(Failed(since=now, why=problem), (EndEngine(),))
        case _:
            raise _illegal(state, event)


def _waking(state: Waking, event: Event, now: float) -> Move:
    match event:
        case Awake(wake):
            return Move(Running(since=now), (RememberWake(wake),))
        case WakeFailed(problem):
            on_disk = state.eviction.process is Process.CHECKPOINT
            return _start(str(problem), now, fallback=state.eviction if on_disk else None)
        case _:
            raise _illegal(state, event)


def _failed(state: Failed, event: Event, now: float) -> Move:
    match event:
        case WakeAsked():
            return _start(f"it had failed: {state.why.message}", now, failures=state.failures)
        case Pardoned():
            return Move(replace(state, failures=0))
        case Renewed():
            return _renewed(now)
        case _:
            raise _illegal(state, event)


def _renewed(now: float) -> Move:
    return Move(NotStarted(since=now, why=WAS_RENEWED))


def _start(why: str, now: float, *, fallback: Eviction | None = None, failures: int = 0) -> Move:
    starting = Starting(since=now, why=why, fallback=fallback, failures=failures)
    return Move(starting, (StartEngine(why),))


def _go_to_sleep(
    eviction: Eviction, escalation: tuple[Eviction, ...], now: float, failed: Problem | None = None
) -> Move:
    going = GoingToSleep(since=now, eviction=eviction, escalation=escalation, failed=failed)
    return Move(going, (PutToSleep(eviction),))


def _lose(problem: Problem) -> tuple[Effect, ...]:
    return (CutInFlight(problem, engine_lost=True), EndEngine())


def _illegal(state: State, event: Event) -> IllegalMove:
    if isinstance(event, SleepAsked):
        return _no_sleep(state, f"be put to sleep ({event.eviction})")
    return IllegalMove(name_of(state), f"take {type(event).__name__}")


def _no_sleep(state: State, move: str) -> IllegalMove:
    match state:
        case Asleep(eviction=there):
            hint = "It sleeps as deep already: wake it first, or say nothing of how it is to sleep"
            return IllegalMove(f"asleep ({there})", move, hint=hint)
        case Draining(eviction=there) | GoingToSleep(eviction=there) | Deepening(to=there):
            hint = f"It is about to sleep otherwise ({there}): ask again once it does"
        case _:
            hint = "A model can be put to sleep while it runs; GET /control/status shows its state"
    return IllegalMove(name_of(state), move, hint=hint)
