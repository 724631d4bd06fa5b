"""docs/states.md and its picture, made by asking the machine of a replica for every move; `python tests/states_page.py` writes them anew."""

from __future__ import annotations

import math
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
    Drained,
    Draining,
    DrainTimedOut,
    EngineLost,
    Event,
    Eviction,
    Failed,
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
PICTURE = PAGE.with_suffix(".svg")

_MEMORY = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
_DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
_STOPPED = Eviction(Weights.DISCARD, Process.STOP)
_WHY = Problem("test", "it broke")

STATES: tuple[State, ...] = (
    NotStarted(since=0),
    Starting(since=0, why="x"),
    Starting(since=0, why="x", fallback=_DISK),
    Running(since=0),
    Draining(since=0, eviction=_DISK),
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
    (SleepAsked(_DISK), "asked to sleep"),
    (SleepAsked(_DISK, busy=True), "asked to sleep while it answers"),
    (Drained(), "its last answer ends"),
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
`llmux/server/_machine.py`; a pair of state and event that is not below, nor leaves the state as it is, is refused.

A sleep that fails is tried deeper where `escalate` says so, and else leaves the replica running. A wake that fails becomes a cold start; where
that fails too, a replica that sleeps on disk sleeps on. This page is made from the machine itself (`make states`).

![The states of a replica, and which follows which](states.svg)

| from | to | when |
| --- | --- | --- |
"""

_PLACES = {
    "not_started": (100, 60),
    "starting": (340, 60),
    "running": (600, 60),
    "draining": (860, 60),
    "waking": (592, 158),
    "going_to_sleep": (860, 180),
    "failed": (200, 300),
    "asleep": (600, 300),
    "deepening": (860, 300),
}
"""The middle of each state's box."""
_HALF = (66, 19)
"""Half of a box's width and height."""
_BULGE = 0.12
"""How far an arrow leaves the straight line, of its length, so that it and the one back are two."""
_MARKER = (
    '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#334"/></marker>'
)
_STYLE = (
    ".box{fill:#eef3fa;stroke:#334;stroke-width:1.5} .serves{fill:#eaf6ea;stroke:#585} .failed{fill:#fbeeee;stroke:#b66} "
    "text{fill:#223;text-anchor:middle} .move{fill:none;stroke:#334;stroke-width:1.4;marker-end:url(#arrow)} "
    ".lost{stroke:#b66;stroke-dasharray:4 3}"
)


def arrows() -> dict[tuple[str, str], list[str]]:
    """Return which states follow which, each with the words for its events."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for before, event, after in moves():
        if event not in found[before, after]:
            found[before, after].append(event)
    return found


def page() -> str:
    """Return the whole page."""
    rows = [
        f"| `{before}` | `{after}` | {', '.join(events)} |\n" for (before, after), events in arrows().items()
    ]
    return _INTRO + "".join(rows)


def picture() -> str:
    """Return the states and their arrows as SVG."""
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 350" font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="14">',
        "<title>The states of a replica, and which follows which</title>",
        f"<defs>{_MARKER}<style>{_STYLE}</style></defs>",
        '<rect width="960" height="350" fill="#fff"/>',
        *(_arrow(before, after) for before, after in arrows()),
        *(_box(name) for name in _PLACES),
        "</svg>\n",
    ]
    return "\n".join(lines)


def _box(name: str) -> str:
    (x, y), (width, height) = _PLACES[name], _HALF
    kind = {"running": " serves", "failed": " failed"}.get(name, "")
    place = f'x="{x - width}" y="{y - height}" width="{2 * width}" height="{2 * height}" rx="8"'
    return f'<rect {place} class="box{kind}"/><text x="{x}" y="{y + 5}">{name}</text>'


def _arrow(before: str, after: str) -> str:
    (x, y), (to_x, to_y) = _PLACES[before], _PLACES[after]
    over = (x + to_x) / 2 + (to_y - y) * _BULGE, (y + to_y) / 2 - (to_x - x) * _BULGE
    start, end = _edge((x, y), over), _edge((to_x, to_y), over)
    points = [f"{value:.0f}" for point in (start, over, end) for value in point]
    kind = " lost" if after == "failed" else ""
    return f'<path d="M{points[0]} {points[1]}Q{points[2]} {points[3]} {points[4]} {points[5]}" class="move{kind}"/>'


def _edge(middle: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    """Return where the line from the middle of a box leaves it."""
    dx, dy = towards[0] - middle[0], towards[1] - middle[1]
    part = min(_HALF[0] / abs(dx) if dx else math.inf, _HALF[1] / abs(dy) if dy else math.inf)
    return middle[0] + dx * part, middle[1] + dy * part


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
    PICTURE.write_text(picture())
