"""A WebSocket through llmux, such as the Realtime API's: messages both ways as they come, and an end that says why.

It is one request in flight for as long as it is open: a model that is to sleep lets it be as long as its `drain` says. When the
engine goes, the client is sent an error event and a closing frame: 1001 for a sleep, 1012 for an engine that is started
anew, 1011 for one that broke off; and 1008 where its key is for the model no longer.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web
from multidict import CIMultiDict
from yarl import URL

from llmux.server import _api_errors, _request_log, _routing, _trace_context
from llmux.server._errands import Addressee, Errand
from llmux.server._gate import answers_page, caller_of, engine_headers, may_still, spend
from llmux.server._journey import journey_of
from llmux.server._names import Target
from llmux.server._queue import Admission
from llmux.server._web import ADAPTERS, DRIVER, UNFORESEEN
from llmux.server._wire import in_words
from llmux.server.access.usage import UsageCount
from llmux.server.errors import EngineLacks, ModelUnavailable, OriginRefused, Problem

log = logging.getLogger(__name__)

_LARGEST_MESSAGE = 16 << 20
"""Bytes; audio travels as text in messages of up to 15 MiB."""
_HEARTBEAT = 30.0
"""Seconds after which a client is pinged; one that does not answer has gone."""
_LOOK_EVERY = 15.0
"""Seconds between two looks at whether who asks may still."""
_FAREWELL = 2.0
"""Seconds for either side to answer a closing frame."""
_HANDSHAKE = frozenset(
    {
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
    }
)
_NEVER_SENT = frozenset({None, 1005, 1006, 1015})  # RFC 6455 section 7.4.1
# Servers of ASGI refuse a WebSocket on a path that they do not have with 403.
_NO_SUCH_CALL = frozenset({403, 404, 405, 426, 501})

_BARRED = Problem(
    "permission_denied",
    "the key has expired, is gone, or is not for this model any more",
    "Ask for a new one",
)

_Socket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


@dataclass(frozen=True)
class _End:
    """How one side has ended the conversation."""

    code: int | None = None
    reason: bytes = b""


def is_asked(request: web.Request) -> bool:
    """Say whether the client asks for a WebSocket."""
    return request.method == "GET" and request.headers.get("Upgrade", "").strip().lower() == "websocket"


async def converse(request: web.Request, errand: Errand, to: Addressee) -> web.StreamResponse:
    """Have a client talk with an engine until one of them ends it.

    Raises OriginRefused, EngineLacks, ModelUnavailable and what an admission raises, while the client has not been answered.
    """
    _check_origin(request)
    driver, target, journey = request.app[DRIVER], to.target, journey_of(request)
    name, priority = target.model.name, caller_of(request).priority
    async with driver.admit(name, None, journey.caller, replica=to.replica, priority=priority) as admission:
        journey.admitted(admission)
        async with request.app[ADAPTERS].hold(target.model, target.served, admission):
            conversation = _Conversation(request, errand, target, admission)
            client, lost = await conversation.run()
        if lost:
            driver.suspect(admission, silent=False)
        return client


def _check_origin(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    if origin is None or answers_page(request):
        return
    if origin.partition("://")[2].lower() != request.host.lower():
        hint = "Configure its origin in access.cors_origins, or have the page's own server open it"
        raise OriginRefused(origin, hint=hint)


class _Conversation:
    def __init__(self, request: web.Request, errand: Errand, target: Target, admission: Admission) -> None:
        self._request = request
        self._journey = journey_of(request)
        self._errand = errand
        self._asked = target.asked
        self._model = target.model
        self._admission = admission

    async def run(self) -> tuple[web.WebSocketResponse, bool]:
        """Return once it has ended, and whether the engine broke it off."""
        engine = await self._dial()
        client = self._client(engine.protocol)
        lost = False
        try:
            try:
                await client.prepare(self._request)
                lost = await self._conversed(client, engine)
            finally:  # a client that is quick to go cancels this before its own code has been passed on
                await self._farewell(client, engine)
        except asyncio.CancelledError:
            if not client.prepared or self._request.transport is not None:
                raise
            self._left(client)
        return client, lost

    async def _farewell(self, client: web.WebSocketResponse, engine: aiohttp.ClientWebSocketResponse) -> None:
        code = client.close_code
        if code is None or code in _NEVER_SENT:
            code = WSCloseCode.GOING_AWAY
        else:
            self._journey.over(client)
        await engine.close(code=code)

    def _left(self, client: web.WebSocketResponse) -> None:
        """Heed that the client has hung up, which cancels this: it may have said goodbye before, and its handshake was answered anyhow."""
        if task := asyncio.current_task():
            task.uncancel()
        if client.close_code in _NEVER_SENT:
            self._journey.client_gone()

    async def _dial(self) -> aiohttp.ClientWebSocketResponse:
        life, seconds = self._admission.life, self._model.rules.request_timeout
        headers = CIMultiDict(_routing.request_headers(engine_headers(self._request)))
        _request_log.pass_on(self._request, headers)
        _trace_context.pass_on(self._request, self._journey, headers)
        offered = headers.get("Sec-WebSocket-Protocol", "")
        dialing = life.session.ws_connect(
            URL(f"{life.url.origin()}{self._errand.target}", encoded=True),
            protocols=tuple(name.strip() for name in offered.split(",") if name.strip()),
            headers=CIMultiDict(
                (name, value) for name, value in headers.items() if name.lower() not in _HANDSHAKE
            ),
            timeout=aiohttp.ClientWSTimeout(ws_close=_FAREWELL),
            max_msg_size=_LARGEST_MESSAGE,
        )
        try:
            async with asyncio.timeout(self._admission.place.arrived + seconds - time.monotonic()):
                return await dialing
        except aiohttp.WSServerHandshakeError as error:
            raise self._refused(error.status) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            log.info("%s: %s", self._admission.replica, str(error) or type(error).__name__)
            problem = _gone(f"the engine did not answer: {in_words(error)}")
            raise ModelUnavailable(self._model.name, problem) from error

    def _refused(self, status: int) -> EngineLacks | ModelUnavailable:
        if status in _NO_SUCH_CALL:
            call = f"a WebSocket at {self._request.path}"
            hint = "Ask a model whose engine has it"
            return EngineLacks(self._model.name, self._model.rules.engine, call, hint=hint)
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
        return ModelUnavailable(
            self._model.name, _gone(f"the engine refused the WebSocket: {status} {phrase}")
        )

    def _client(self, protocol: str | None) -> web.WebSocketResponse:
        return web.WebSocketResponse(
            protocols=(protocol,) if protocol else (),
            heartbeat=_HEARTBEAT,
            timeout=_FAREWELL,
            max_msg_size=_LARGEST_MESSAGE,
        )

    def _heard(self, message: aiohttp.WSMessage) -> None:
        self._admission.heard()
        if message.type is WSMsgType.TEXT:
            usage = UsageCount()
            usage.read(message.data.encode())
            self._journey.heard_message(usage)
            spend(self._request, usage.said())

    async def _conversed(
        self, client: web.WebSocketResponse, engine: aiohttp.ClientWebSocketResponse
    ) -> bool:
        try:
            return await self._between(client, engine)
        except Exception:  # there is no answering otherwise any more
            log.exception("%s %s failed unforeseen", self._request.method, self._request.path)
            await self._break_off(client, UNFORESEEN, WSCloseCode.INTERNAL_ERROR)
            return False

    async def _between(self, client: web.WebSocketResponse, engine: aiohttp.ClientWebSocketResponse) -> bool:
        cut = self._admission.cut
        async with asyncio.TaskGroup() as group:
            up = group.create_task(_pass(client, engine))
            down = group.create_task(_pass(engine, client, self._heard))
            barred = group.create_task(_until_barred(self._request, self._asked))
            await asyncio.wait((up, down, barred, cut), return_when=asyncio.FIRST_COMPLETED)
            ended, left, over = down.done(), up.done(), barred.done()
            for task in (up, down, barred):
                task.cancel()
        if cut.done():
            why = cut.result()
            code = WSCloseCode.SERVICE_RESTART if why.engine_lost else WSCloseCode.GOING_AWAY
            await self._break_off(client, why.problem, code)
            return False
        if left:
            await _pass_end(engine, up.result())
            return False
        if over and not ended:
            await self._break_off(client, _BARRED, WSCloseCode.POLICY_VIOLATION)
            return False
        lost = ended and down.result().code in _NEVER_SENT
        if lost:
            await self._break_off(client, _gone("the engine broke off"), WSCloseCode.INTERNAL_ERROR)
        else:
            self._journey.over(client)
            await _pass_end(client, down.result())
        return lost

    async def _break_off(self, client: web.WebSocketResponse, why: Problem, code: int) -> None:
        self._journey.broken_off(why)
        self._journey.over(client)
        kind = "permission_error" if code == WSCloseCode.POLICY_VIOLATION else "server_error"
        try:
            await client.send_str(_api_errors.realtime_event(f"event_{secrets.token_hex(12)}", why, kind))
        except aiohttp.ClientConnectionResetError:
            return
        await client.close(code=code, message=_api_errors.closing_reason(why))


async def _pass(
    source: _Socket, sink: _Socket, heard: Callable[[aiohttp.WSMessage], None] = lambda _message: None
) -> _End:
    """Pass one side's messages on until it ends; or the other has gone."""
    while True:
        message = await source.receive()
        heard(message)
        try:
            match message.type:
                case WSMsgType.TEXT:
                    await sink.send_str(message.data)
                case WSMsgType.BINARY:
                    await sink.send_bytes(message.data)
                case WSMsgType.CLOSE:
                    return _End(message.data, (message.extra or "").encode())
                case _:
                    return _End()
        except aiohttp.ClientConnectionResetError:
            return _End(WSCloseCode.GOING_AWAY)


async def _until_barred(request: web.Request, model: str) -> None:
    """Return once who asks may use the model no longer."""
    while may_still(request, model):  # noqa: ASYNC110 - that a key expires is no event
        await asyncio.sleep(_LOOK_EVERY)


async def _pass_end(socket: _Socket, end: _End) -> None:
    code = WSCloseCode.OK if end.code is None or end.code in _NEVER_SENT else end.code
    await socket.close(code=code, message=end.reason)


def _gone(message: str) -> Problem:
    return Problem(
        "engine_gone",
        message,
        "Connect again: an engine that has ended is started again for the next request",
    )
