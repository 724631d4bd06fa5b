"""Wakes and sleeps with their phases, as intervals, and which of them a request has waited for. Pure.

Times are by the monotonic clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from llmux.server._happenings import Entry, SleepDone, SleepFailed, StateChanged, WakeDone, WakeFailed

KEPT = 64
"""Moves that are kept; those that a request has waited for are among the latest."""


@dataclass(frozen=True)
class Phase:
    """A part of a move."""

    name: str
    began: float
    ended: float


@dataclass(frozen=True, kw_only=True)
class Move:
    """A wake or a sleep that is over."""

    kind: str
    """`wake` or `sleep`."""
    model: str
    replica: str
    began: float
    ended: float
    how: str
    """The kind of the wake, or what became of the process."""
    problem: str = ""
    """The code of what has made it fail."""
    phases: tuple[Phase, ...] = ()
    amounts: Mapping[str, float] = field(default_factory=dict)
    """Seconds of phases whose beginning is not known."""
    number: int = 0
    """One more than that of the move before."""


class Moves:
    """The latest moves of all replicas."""

    def __init__(self) -> None:
        self._latest: deque[Move] = deque(maxlen=KEPT)
        self._count = 0
        self._drains: dict[str, Phase] = {}
        """Each replica's that has just ended with its going to sleep."""

    def take(self, entry: Entry) -> Move | None:
        """Take one entry; return the move that it tells of."""
        match entry.happening:
            case StateChanged(before="draining", after="going_to_sleep") as change:
                self._drains[change.replica] = Phase(
                    "drain", entry.monotonic - change.seconds, entry.monotonic
                )
                return None
            case WakeDone() | WakeFailed() as wake:
                move = _woken(wake, entry.monotonic)
            case SleepDone() | SleepFailed() as sleep:
                move = _drained(_slept(sleep, entry.monotonic), self._drains.pop(sleep.replica, None))
            case _:
                return None
        self._count += 1
        move = replace(move, number=self._count)
        self._latest.append(move)
        return move

    def waited_for(self, model: str, replica: str, since: float, until: float) -> tuple[Move, ...]:
        """Return what ended while a request waited, in order: wakes of its replica, and before them sleeps, which made room.

        Of a request that was given to no replica, `replica` is empty: then all its model's wakes, and all sleeps.
        """
        ended = tuple(self._ended(since, until))
        wakes = [
            each
            for each in ended
            if each.kind == "wake" and each.model == model and replica in {"", each.replica}
        ]
        if not wakes and replica:
            return ()
        first = min((each.began for each in wakes), default=until)
        return tuple(
            each for each in ended if each in wakes or (each.kind == "sleep" and each.ended <= first)
        )

    def _ended(self, since: float, until: float) -> Iterator[Move]:
        return (each for each in tuple(self._latest) if since < each.ended <= until)


def _woken(wake: WakeDone | WakeFailed, ended: float) -> Move:
    move = Move(
        kind="wake",
        model=wake.model,
        replica=wake.replica,
        began=ended - wake.seconds,
        ended=ended,
        how=wake.wake.value,
    )
    if isinstance(wake, WakeFailed):
        return replace(move, problem=wake.problem.code)
    return _with_phases(move, wake.phases, wake.phases_begun)


def _slept(sleep: SleepDone | SleepFailed, ended: float) -> Move:
    move = Move(
        kind="sleep",
        model=sleep.model,
        replica=sleep.replica,
        began=ended - sleep.seconds,
        ended=ended,
        how=sleep.eviction.process.value,
    )
    if isinstance(sleep, SleepFailed):
        return replace(move, problem=sleep.problem.code)
    return _with_phases(move, sleep.phases, sleep.phases_begun)


def _with_phases(move: Move, seconds: Mapping[str, float], begun: Mapping[str, float]) -> Move:
    phases = tuple(
        Phase(name, move.began + begun[name], min(move.began + begun[name] + took, move.ended))
        for name, took in seconds.items()
        if name in begun
    )
    return replace(
        move,
        phases=phases,
        amounts={name: took for name, took in seconds.items() if name not in begun},
    )


def _drained(sleep: Move, drain: Phase | None) -> Move:
    if drain is None or drain.ended > sleep.ended:
        return sleep
    return replace(sleep, began=drain.began, phases=(drain, *sleep.phases))
