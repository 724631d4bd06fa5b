"""One client's request as whoever looks on sees it: asked for a model, given to an engine, answered or not.

`observed` is the middleware around all others; `begin` is for handlers that pass requests on to engines. From there on
`journey_of(request)` is told of each step, and of the end by the middleware, whatever that end is.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from llmux.server import _request_log
from llmux.server._bus import Bus
from llmux.server._happenings import Outcome, RequestAdmitted, RequestFinished, RequestQueued, Tokens
from llmux.server._queue import Admission, Caller
from llmux.server._request_log import CLIENT_GONE
from llmux.server._web import PROBLEM
from llmux.server.access.usage import UsageCount
from llmux.server.errors import Problem

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_TELLING = {"application/json", "text/event-stream"}


class Journey:
    """What is known of a request so far."""

    def __init__(self, bus: Bus, request: web.Request) -> None:
        self.id = _request_log.handle_of(request)
        self._request_id = _request_log.id_of(request)
        self.usage = UsageCount()
        """What the engine's answer takes."""
        self._bus = bus
        self._method = request.method
        self._path = request.path
        self._began = time.monotonic()
        self._model = ""
        self._admission: Admission | None = None
        self._first_byte: float | None = None
        self._whole = False
        self._tokens: Tokens | None = None
        self._broken_off: Problem | None = None
        self._client_gone = False
        self.traced = False
        """It has a trace of OpenTelemetry's."""
        self._over: web.StreamResponse | None = None
        self.caller = Caller(id=self.id, request_id=self._request_id, method=self._method, path=self._path)
        """It, as those know it who let it in to an engine."""

    def asks(self, model: str, why: str = "") -> None:
        """Note the configured model that it is for; `why` it asks again."""
        self._model = model
        self._bus.publish(
            RequestQueued(request=self.id, request_id=self._request_id, model=model, path=self._path, why=why)
        )

    def admitted(self, admission: Admission) -> None:
        """Note the engine that it was given to."""
        self._admission = admission
        self._bus.publish(
            RequestAdmitted(
                request=self.id,
                request_id=self._request_id,
                model=self._model,
                path=self._path,
                replica=admission.replica,
                queued=admission.queued,
                wake=admission.wake,
            )
        )

    def heard(self) -> None:
        """Note that the first bytes of the answer's body are there."""
        self._first_byte = time.monotonic() - self._began

    def answered(self, status: int, content_type: str) -> None:
        """Note the end of an answer that was sent whole."""
        self._whole = True
        if status < HTTPStatus.BAD_REQUEST and content_type in _TELLING:
            told = self.usage.told()
            self._tokens = Tokens(*told) if told else None

    def heard_message(self, message: UsageCount) -> None:
        """Note what one of an engine's messages in a WebSocket says of tokens: each tells of its own."""
        if told := message.told():
            before = self._tokens or Tokens(0, 0)
            self._tokens = Tokens(before.prompt + told[0], before.completion + told[1])

    def broken_off(self, why: Problem) -> None:
        """Note that the answer had begun and cannot be finished."""
        self._broken_off = why

    def over(self, response: web.StreamResponse) -> None:
        """Note that a WebSocket is over but for the farewells: a client that does not wait for them has not gone too early."""
        self._over = response

    def client_gone(self) -> None:
        """Note that there is nobody to answer any more."""
        self._client_gone = True

    @property
    def is_client_gone(self) -> bool:
        """Say whether that has been noted."""
        return self._client_gone

    def finish(self, response: web.StreamResponse | None, head: web.StreamResponse | None) -> None:
        """Tell of its end; without a response its handler was cancelled, for its client has gone: `head` is what that was sent of one."""
        outcome, status, code = self._end(response or self._over, head)
        taken, now = self._admission, time.monotonic() - self._began
        self._bus.publish(
            RequestFinished(
                request=self.id,
                request_id=self._request_id,
                model=self._model,
                path=self._path,
                method=self._method,
                status=status,
                outcome=outcome,
                code=code,
                replica=taken.replica if taken else "",
                wake=taken.wake if taken else "",
                queued=taken.queued if taken else now,
                first_byte=self._first_byte,
                seconds=now,
                tokens=self._tokens,
            )
        )

    def _end(
        self, response: web.StreamResponse | None, head: web.StreamResponse | None
    ) -> tuple[Outcome, int, str]:
        if response is None or self._client_gone:
            return Outcome.CLIENT_GONE, head.status if head else CLIENT_GONE, ""
        if self._broken_off:
            return Outcome.BROKEN_OFF, response.status, self._broken_off.code
        if not self._whole and (problem := response.get(PROBLEM)):
            return Outcome.REFUSED, response.status, problem.code
        return Outcome.ANSWERED, response.status, ""


_JOURNEY = web.RequestKey("journey", Journey)


def begin(request: web.Request, bus: Bus) -> Journey:
    """Begin to tell of a request that an engine is to answer."""
    request[_JOURNEY] = journey = Journey(bus, request)
    return journey


def has_journey(request: web.Request) -> bool:
    """Say whether a request has begun a journey."""
    return _JOURNEY in request


def journey_of(request: web.Request) -> Journey:
    """Return the journey of a request that has begun one."""
    return request[_JOURNEY]


def tokens_of(request: web.Request) -> int:
    """Return how many tokens a request has taken of an engine so far."""
    journey = request.get(_JOURNEY)
    return journey.usage.tokens(request.content.total_bytes) if journey else 0


@web.middleware
async def observed(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Log each request, and tell of the end of each that has begun a journey; the outermost of all middlewares."""
    note = _request_log.begin(request)
    response: web.StreamResponse | None = None
    try:
        response = await handler(request)
    finally:
        if journey := request.get(_JOURNEY):
            journey.finish(response, _request_log.head_of(request))
            note.client_gone = journey.is_client_gone
        _request_log.end(request, note, response)
    return response
