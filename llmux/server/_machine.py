"""One model's life: (state, event, now) to (state, effects). Pure; every pair that is not written here is illegal.

The rules behind it:
- A request never fails because the model sleeps: it is held, and the model is started or woken for it.
- A sleep that fails leaves the model running; a wake that fails becomes a cold start with the reason kept; and where
  that fails too, a model that sleeps on disk sleeps on.
- An engine that is lost while requests are held is started again for them; otherwise it waits for the next request.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from llmux.server._model import (
    AdmitHeld,
    Asleep,
    Awake,
    CheckpointFound,
    CheckpointUnusable,
    Draining,
    DrainTimedOut,
    EndEngine,
    EngineLost,
    Event,
    Eviction,
    Failed,
    Finished,
    GoingToSleep,
    Move,
    NoRoom,
    NotStarted,
    Process,
    PutToSleep,
    RefuseHeld,
    RememberWake,
    Requested,
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
    WakeEngine,
    WakeFailed,
    Waking,
    Withdrawn,
    name_of,
)
from llmux.server.errors import IllegalMove, Problem

WAS_STOPPED = "its process had been stopped"


def step(state: State, event: Event, now: float) -> Move:
    """Return what `event` makes of a model in `state` at `now` (seconds since the epoch).

    Raises IllegalMove for a pair that cannot be.
    """
    match state:
        case NotStarted():
            move = _not_started(state, event, now)
        case Starting():
            move = _starting(state, event, now)
        case Running():
            move = _running(state, event, now)
        case Draining():
            move = _draining(state, event, now)
        case GoingToSleep():
            move = _going_to_sleep(state, event, now)
        case Asleep():
            move = _asleep(state, event, now)
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
        case Requested():
            return _start(state.why, 1, now)
        case _:
            raise _illegal(state, event)


def _starting(state: Starting, event: Event, now: float) -> Move:
    match event:
        case Requested() | Withdrawn():
            return Move(replace(state, held=_recount(state.held, event)))
        case Awake():
            return _serve(event, state.held, now)
        case StartFailed(problem) | NoRoom(problem) if state.fallback:
            asleep = Asleep(since=now, eviction=state.fallback, wake_failed=problem)
            return Move(asleep, (RefuseHeld(problem),))
        case StartFailed(problem) | NoRoom(problem):
            return Move(Failed(since=now, why=problem), (RefuseHeld(problem),))
        case _:
            raise _illegal(state, event)


def _running(state: Running, event: Event, now: float) -> Move:
    match event:
        case Requested():
            return Move(replace(state, in_flight=state.in_flight + 1), (AdmitHeld(),))
        case Finished() if state.in_flight > 0:
            return Move(replace(state, in_flight=state.in_flight - 1))
        case SleepAsked(eviction) if state.in_flight > 0:
            draining = Draining(since=now, in_flight=state.in_flight, eviction=eviction)
            return Move(draining, (StartDrainTimer(),))
        case SleepAsked(eviction):
            return Move(GoingToSleep(since=now, eviction=eviction), (PutToSleep(eviction),))
        case EngineLost(problem):
            return Move(Failed(since=now, why=problem), (EndEngine(),))
        case _:
            raise _illegal(state, event)


def _draining(state: Draining, event: Event, now: float) -> Move:
    match event:
        case Requested() | Withdrawn():
            return Move(replace(state, held=_recount(state.held, event)))
        case Finished() if state.in_flight > 1:
            return Move(replace(state, in_flight=state.in_flight - 1))
        case Finished():
            asleep_next = GoingToSleep(since=now, held=state.held, eviction=state.eviction)
            return Move(asleep_next, (StopDrainTimer(), PutToSleep(state.eviction)))
        case DrainTimedOut(problem):
            return _serve_on(problem, state.in_flight + state.held, now)
        case SleepAsked(eviction) if eviction == state.eviction:
            return Move(state)
        case EngineLost(problem):
            lost = _lose(problem, state.held, now)
            return replace(lost, effects=(StopDrainTimer(), *lost.effects))
        case _:
            raise _illegal(state, event)


def _going_to_sleep(state: GoingToSleep, event: Event, now: float) -> Move:
    match event:
        case Requested() | Withdrawn():
            return Move(replace(state, held=_recount(state.held, event)))
        case Slept() if state.held > 0:
            return _wake(state.eviction, state.held, now)
        case Slept():
            return Move(Asleep(since=now, eviction=state.eviction))
        case SleepFailed(problem):
            return _serve_on(problem, state.held, now)
        case SleepAsked(eviction) if eviction == state.eviction:
            return Move(state)
        case EngineLost(problem):
            return _lose(problem, state.held, now)
        case _:
            raise _illegal(state, event)


def _asleep(state: Asleep, event: Event, now: float) -> Move:
    match event:
        case Requested():
            return _wake(state.eviction, 1, now)
        case SleepAsked(eviction) if eviction == state.eviction:
            return Move(state)
        case EngineLost(problem) if state.eviction.process is Process.KEEP_RUNNING:
            return Move(Failed(since=now, why=problem), (EndEngine(),))
        case _:
            raise _illegal(state, event)


def _waking(state: Waking, event: Event, now: float) -> Move:
    match event:
        case Requested() | Withdrawn():
            return Move(replace(state, held=_recount(state.held, event)))
        case Awake():
            return _serve(event, state.held, now)
        case WakeFailed(problem):
            on_disk = state.eviction.process is Process.CHECKPOINT
            return _start(str(problem), state.held, now, state.eviction if on_disk else None)
        case NoRoom(problem):
            asleep = Asleep(since=now, eviction=state.eviction, wake_failed=problem)
            return Move(asleep, (RefuseHeld(problem),))
        case _:
            raise _illegal(state, event)


def _failed(state: Failed, event: Event, now: float) -> Move:
    match event:
        case Requested():
            return _start(f"it had failed: {state.why.message}", 1, now)
        case _:
            raise _illegal(state, event)


def _start(why: str, held: int, now: float, fallback: Eviction | None = None) -> Move:
    return Move(Starting(since=now, held=held, why=why, fallback=fallback), (StartEngine(why),))


def _wake(eviction: Eviction, held: int, now: float) -> Move:
    if eviction.process is Process.STOP:
        return _start(WAS_STOPPED, held, now)
    return Move(Waking(since=now, held=held, eviction=eviction), (WakeEngine(eviction),))


def _serve(event: Awake, held: int, now: float) -> Move:
    return Move(Running(since=now, in_flight=held), (RememberWake(event.wake), AdmitHeld()))


def _serve_on(problem: Problem, in_flight: int, now: float) -> Move:
    return Move(Running(since=now, in_flight=in_flight, sleep_failed=problem), (AdmitHeld(),))


def _lose(problem: Problem, held: int, now: float) -> Move:
    if held > 0:
        return _start(f"it had failed: {problem.message}", held, now)
    return Move(Failed(since=now, why=problem), (EndEngine(),))


def _recount(held: int, event: Requested | Withdrawn) -> int:
    match event:
        case Requested():
            return held + 1
        case Withdrawn():
            return held - 1
        case _:
            assert_never(event)


def _illegal(state: State, event: Event) -> IllegalMove:
    if isinstance(event, SleepAsked):
        hint = "A model can be put to sleep while it runs; GET /control/status shows its state"
        return IllegalMove(name_of(state), f"be put to sleep ({event.eviction})", hint=hint)
    return IllegalMove(name_of(state), f"take {type(event).__name__}")
