"""A replica's move, or a wish for one, as those see it who look on. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from llmux.server import _happenings
from llmux.server._happenings import Decided, EngineRestarted, Happening, StateChanged
from llmux.server._model import (
    Asleep,
    Awake,
    DrainTimedOut,
    EngineLost,
    Event,
    Failed,
    GoingToSleep,
    Running,
    SleepFailed,
    StartFailed,
    Starting,
    State,
    WakeFailed,
    name_of,
)
from llmux.server._record import Replica
from llmux.server.scheduling.snapshot import Action, Wake

BY_HAND = "control"
"""Who decides where somebody asks for it."""


def told(replica: Replica, before: State, event: Event) -> Iterable[Happening]:
    """Yield what is to be told of the move that `event` has made, which `replica` has behind it."""
    name, model, after = replica.name, replica.model, replica.state
    if isinstance(event, EngineLost):
        yield _happenings.EngineLost(model=model, replica=name, problem=event.problem)
    if type(before) is not type(after):
        yield StateChanged(
            model=model,
            replica=name,
            before=name_of(before),
            after=name_of(after),
            cause=type(event).__name__,
            why=_why(event, after),
            seconds=after.since - before.since,
        )
    if isinstance(before, Failed) and isinstance(after, Starting):
        yield EngineRestarted(model=model, replica=name, failures=after.failures, why=after.why)


def in_words(state: State) -> str:
    """Return the state as the log has it."""
    return f"asleep ({state.eviction})" if isinstance(state, Asleep) else name_of(state)


def decided(replica: Replica, policy: str, action: Action) -> Iterable[Decided]:
    """Yield what is to be told of a wish that is to be carried out. A wake by hand was told when it was asked for."""
    if isinstance(action, Wake) and action.by_hand:
        return
    who, what = BY_HAND if action.by_hand else policy, type(action).__name__.lower()
    yield Decided(model=replica.model, replica=replica.name, who=who, what=what, why=action.why)


def asked(replica: Replica, what: str) -> Decided:
    """Return what is to be told of a wish by hand: to `wake` or to `sleep`."""
    return Decided(model=replica.model, replica=replica.name, who=BY_HAND, what=what, why="asked for by hand")


def _why(event: Event, after: State) -> str:
    match event:
        case EngineLost(problem) | StartFailed(problem) | WakeFailed(problem):
            return str(problem)
        case SleepFailed(problem) | DrainTimedOut(problem):
            return str(problem)
        case Awake(wake):
            return wake.reason
        case _:
            return _why_there(after)


def _why_there(state: State) -> str:
    match state:
        case Starting(why=why):
            return why
        case GoingToSleep(failed=problem) | Running(sleep_failed=problem) if problem:
            return str(problem)
        case _:
            return ""
