"""What ends an answer before its end: the request's time until the first byte, an engine's silence after that, and a cut."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

from llmux.server._model import CutInFlight

_SECOND_LOOK = 1.0
"""Seconds for bytes that came while llmux itself stood still, when it finds that an engine's time is over."""


class AnswerTime:
    """Raises TimeoutError inside when the answer's time is over.

    Silence is looked for now and then, as often as it may last: a time-out for each of a stream's pieces would take as long as passing it on.
    """

    def __init__(self, cut: asyncio.Future[CutInFlight], deadline: float) -> None:
        """`deadline` is when the first byte has to be there, by the monotonic clock; `cut` is done when the answer is to be ended at once."""
        self._loop = asyncio.get_running_loop()
        self._cut = cut
        self._bound = asyncio.timeout(deadline - time.monotonic())
        self._over = False
        self._stall = 0.0
        self._silent_since: float | None = None
        self._suspected: float | None = None
        """The silence that has lasted too long already."""
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._bound.__aenter__()
        self._cut.add_done_callback(self._cut_off)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cut.remove_done_callback(self._cut_off)
        if self._timer:
            self._timer.cancel()
        self._over = True  # a callback may be on its way already
        await self._bound.__aexit__(kind, value, trace)

    def begun(self, stall: float | None) -> None:
        """Let the answer take as long as it wants from now on, if its engine is silent for no longer than `stall` seconds at a time."""
        if self._cut.done():
            return
        self._bound.reschedule(None)
        if stall is not None:
            self._stall = stall
            self._timer = self._loop.call_later(stall, self._look)

    def listens(self) -> None:
        """Note that it is for the engine to send something."""
        self._silent_since = self._loop.time()

    def heard(self) -> None:
        """Note that it has."""
        self._silent_since = None

    def _look(self) -> None:
        since = self._silent_since
        pause = self._stall if since is None else since + self._stall - self._loop.time()
        if since is not None and pause <= 0:
            if since == self._suspected:
                self._end()
                return
            self._suspected, pause = since, _SECOND_LOOK
        self._timer = self._loop.call_later(pause, self._look)

    def _cut_off(self, _cut: asyncio.Future[CutInFlight]) -> None:
        self._end()

    def _end(self) -> None:
        if not self._over and not self._bound.expired():
            self._bound.reschedule(self._loop.time())
