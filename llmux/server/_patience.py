"""How long llmux waits for a request's body: not for ever, and not for one that trickles."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from llmux.server.access.errors import RequestTooSlow

_LOOKS = 4
"""In the time that a body may be silent for."""
_HINT = "Send it faster, or have `listen.body_timeout` or `listen.body_rate` changed"

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Patience:
    """How slow a body may be."""

    seconds: float = 30.0
    """How long nothing may come; after that time, it must come at `rate` on the whole."""
    rate: int = 1024
    """Bytes a second."""


async def patiently(patience: Patience, request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Have a request handled whose body is still to come. Raises RequestTooSlow where it does not, and what `handler` does."""
    watch = _Watch(patience, request)
    try:
        async with asyncio.timeout(None) as bound:
            watch.begin(bound)
            try:
                return await handler(request)
            finally:
                watch.end()
    except TimeoutError as error:
        if not watch.tripped:
            raise
        raise RequestTooSlow(request.content.total_bytes, watch.seconds, hint=_HINT) from error


class _Watch:
    """Looks now and then at how much of a body has come."""

    def __init__(self, patience: Patience, request: web.Request) -> None:
        self._patience = patience
        self._request = request
        self._received = 0
        self._silent = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.seconds = 0.0
        """How long the client could have sent."""
        self.tripped = False

    def begin(self, bound: asyncio.Timeout) -> None:
        """Begin to look; `bound` is what ends the handler."""
        loop, pause = asyncio.get_running_loop(), self._patience.seconds / _LOOKS
        self._timer = loop.call_later(pause, self._look, bound, pause)

    def end(self) -> None:
        """Look no more."""
        if self._timer:
            self._timer.cancel()

    def _look(self, bound: asyncio.Timeout, pause: float) -> None:
        body, transport = self._request.content, self._request.transport
        # An answer that has begun says by its own end what became of the request.
        if body.is_eof() or transport is None or self._request.writer.output_size:
            return
        if transport.is_reading():  # else it is llmux that takes no more yet
            self.seconds += pause
            self._silent = self._silent + pause if body.total_bytes == self._received else 0.0
        self._received = body.total_bytes
        if self._too_slow():
            self.tripped = True
            bound.reschedule(asyncio.get_running_loop().time())
        else:
            self.begin(bound)

    def _too_slow(self) -> bool:
        late = self.seconds >= self._patience.seconds and self._received < self.seconds * self._patience.rate
        return late or self._silent >= self._patience.seconds
