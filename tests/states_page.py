"""docs/states.md, made by asking the machine of a replica for every move; `python tests/states_page.py` writes it anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from llmux.server._machine import step
from llmux.server._model import (
    Adopted,
    Asleep,
    Awake,
    CheckpointFound,
    CheckpointUnusable,
    DeepenAsked,
    Deepening,
    Draining,
    DrainTimedOut,
    EngineLost,
    Event,
    Eviction,
    Failed,
    Finished,
    GoingToSleep,
    NotStarted,
    Pardoned,
    Process,
    Renewed,
    Running,
    SleepAsked,
    SleepFailed,
    Slept,
    StartFailed,
    Starting,
    State,
    Taken,
    Wake,
    WakeAsked,
    WakeFailed,
    WakeKind,
    Waking,
    Weights,
    name_of,
)
from llmux.server.errors import IllegalMove, Problem

PAGE = Path(__file__).resolve().parents[1] / "docs/states.md"

_MEMORY = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
_DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
_STOPPED = Eviction(Weights.DISCARD, Process.STOP)
_WHY = Problem("test", "it broke")

STATES: tuple[State, ...] = (
    NotStarted(since=0),
    Starting(since=0, why="x"),
    Starting(since=0, why="x", fallback=_DISK),
    Running(since=0),
    Running(since=0, in_flight=1),
    Draining(since=0, in_flight=1, eviction=_DISK),
    Draining(since=0, in_flight=2, eviction=_DISK),
    GoingToSleep(since=0, eviction=_MEMORY, escalation=(_DISK,)),
    GoingToSleep(since=0, eviction=_DISK),
    Asleep(since=0, eviction=_MEMORY),
    Asleep(since=0, eviction=_DISK),
    Asleep(since=0, eviction=_STOPPED),
    Deepening(since=0, eviction=_MEMORY, to=_DISK),
    Waking(since=0, eviction=_DISK),
    Failed(since=0, why=_WHY),
)
"""Every state, in each form that something else follows from."""

_WORDS: tuple[tuple[Event, str], ...] = (
    (CheckpointFound(_DISK), "a checkpoint is found at start"),
    (CheckpointUnusable(_WHY), "a checkpoint is found that cannot be used"),
    (Adopted(), "its engine is adopted"),
    (Adopted(_MEMORY), "its sleeping engine is adopted"),
    (WakeAsked(), "wanted"),
    (Taken(), "a request is taken"),
    (Finished(), "an answer ends"),
    (SleepAsked(_DISK), "asked to sleep"),
    (DeepenAsked(_DISK), "asked to sleep deeper"),
    (DrainTimedOut(_WHY, give_up=True), "the drain is given up"),
    (DrainTimedOut(_WHY, give_up=False), "the drain cuts answers off"),
    (Slept(), "slept"),
    (SleepFailed(_WHY), "the sleep failed"),
    (Awake(Wake(WakeKind.RESTORED, 1, 0)), "serves"),
    (StartFailed(_WHY), "the start failed"),
    (WakeFailed(_WHY), "the wake failed"),
    (EngineLost(_WHY), "the engine is lost"),
    (Pardoned(), "asked for by hand"),
    (Renewed(), "configured otherwise"),
)

_INTRO = """# The states of a replica

Each engine, a *replica* of its model, is in one of these states. Requests wait in their model's queue until a replica of it runs; the
[policy](scheduling.md) decides who is wanted and who is asked to sleep. What a move does besides (start an engine, refuse who waits, ...) is in
`llmux/server/_machine.py`; a pair of state and event that has no arrow here, nor leaves the state as it is, is refused.

A sleep that fails is tried deeper where `escalate` says so, and else leaves the replica running. A wake that fails becomes a cold start; where
that fails too, a replica that sleeps on disk sleeps on. This page is made from the machine itself (`make states`).

"""


def page() -> str:
    """Return the whole page."""
    arrows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for before, event, after in moves():
        if event not in arrows[before, after]:
            arrows[before, after].append(event)
    lines = [f"    {before} --> {after}: {', '.join(events)}" for (before, after), events in arrows.items()]
    return _INTRO + "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> not_started", *lines, "```", ""])


def moves() -> Iterator[tuple[str, str, str]]:
    """Yield every move from one state to another, by the names of the states and the words for the event."""
    for state in STATES:
        for event, words in _WORDS:
            try:
                after = step(state, event, 1.0).state
            except IllegalMove:
                continue
            if name_of(after) != name_of(state):
                yield name_of(state), words, name_of(after)


if __name__ == "__main__":
    PAGE.write_text(page())
