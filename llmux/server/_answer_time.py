"""What ends an answer before its end: the request's time until the first byte, an engine's silence after that, and a cut."""

from __future__ import annotations

import asyncio
import math
import time
from types import TracebackType
from typing import Self

from llmux.server._model import CutInFlight

_SECOND_LOOK = 1.0
"""Seconds for bytes that came while llmux itself stood still, when it finds that an engine's time is over."""


class Deadlines:
    """When answers have to have begun: one timer for all of them, as nearly all begin long before, and each would have its own made for nothing."""

    def __init__(self) -> None:
        self._deadlines: dict[AnswerTime, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = math.inf
        """When that is due."""

    def watch(self, answer: AnswerTime, deadline: float) -> None:
        """Have an answer ended at its deadline, by the monotonic clock, unless it is forgotten before."""
        self._deadlines[answer] = deadline
        if deadline < self._next:
            self._look_at(deadline)

    def forget(self, answer: AnswerTime) -> None:
        """Let it take its time."""
        self._deadlines.pop(answer, None)

    def _look_at(self, deadline: float) -> None:
        if self._timer:
            self._timer.cancel()
        pause = max(0.0, deadline - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(pause, self._look)
        self._next = deadline

    def _look(self) -> None:
        now = time.monotonic()
        for answer in [each for each, deadline in self._deadlines.items() if deadline <= now]:
            self.forget(answer)
            answer.end()
        self._timer, self._next = None, math.inf
        if self._deadlines:
            self._look_at(min(self._deadlines.values()))


class AnswerTime:
    """Raises TimeoutError inside when the answer's time is over, by the rules of asyncio.timeout, which cannot wait for a future too.

    Silence is looked for now and then, as often as it may last: a time-out for each of a stream's pieces would take as long as passing it on.
    """

    def __init__(self, cut: asyncio.Future[CutInFlight], deadline: float, deadlines: Deadlines) -> None:
        """`deadline` is when the first byte has to be there, by the monotonic clock, and one of `deadlines`; `cut` is done when the answer is to be ended at once."""
        self._cut = cut
        self._deadline = deadline
        self._deadlines = deadlines
        self._timer: asyncio.TimerHandle | None = None
        self._over = False
        """Its end has been called."""
        self._stall: float | None = None
        self._silent_since: float | None = None
        self._suspected: float | None = None
        """The silence that has lasted too long already."""

    def __enter__(self) -> Self:
        self._loop = loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("an answer's time is a task's")
        self._task, self._cancelling = task, task.cancelling()
        self._cut.add_done_callback(self.end)
        self._deadlines.watch(self, self._deadline)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cut.remove_done_callback(self.end)
        self._deadlines.forget(self)
        if self._timer:
            self._timer.cancel()
        over, self._over = self._over, True  # a callback may be on its way already
        if over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from value

    def begun(self, stall: float | None) -> None:
        """Let the answer take as long as it wants from now on, if its engine is silent for no longer than `stall` seconds at a time."""
        self._stall = stall
        self._deadlines.forget(self)

    def listens(self) -> None:
        """Note that it is for the engine to send something."""
        self._silent_since = self._loop.time()
        if self._timer is None and self._stall is not None:
            self._timer = self._loop.call_later(self._stall, self._look)

    def heard(self) -> None:
        """Note that it has."""
        self._silent_since = None

    def _look(self) -> None:
        since, stall = self._silent_since, self._stall or 0.0
        pause = stall if since is None else since + stall - self._loop.time()
        if since is not None and pause <= 0:
            if since == self._suspected:
                self.end()
                return
            self._suspected, pause = since, _SECOND_LOOK
        self._timer = self._loop.call_later(pause, self._look)

    def end(self, _cut: asyncio.Future[CutInFlight] | None = None) -> None:
        """Have it over."""
        if not self._over:
            self._over = True
            self._task.cancel()
