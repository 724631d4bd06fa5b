"""The gate before every handler: who asks, whether they may, how much they have had, and which web pages may read the answer."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from msgspec import Struct

from llmux.server._journey import journey_of, tokens_of
from llmux.server._ownership import NOBODY, Owner
from llmux.server._patience import Patience, patiently
from llmux.server.access.errors import NotAllowed, NotAuthenticated
from llmux.server.access.limits import Limiter, Standing
from llmux.server.access.origin import Peer, cors_headers, is_preflight, preflight_headers
from llmux.server.access.policy import Access, Asked, Caller, without_keys
from llmux.server.access.roles import Right, right_for
from llmux.server.errors import UnknownModel

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_CREDENTIALS_OF_PEER = struct.Struct("3i")
"""struct ucred: pid, uid, gid (unix(7), SO_PEERCRED)."""


@dataclass
class Gate:
    """What is in force; a reload replaces `access`."""

    access: Access = field(default_factory=Access)
    patience: Patience = field(default_factory=Patience)
    admin_port: int | None = None
    """The port that alone has what is not /v1, where there is one."""
    limiter: Limiter = field(default_factory=Limiter)

    def take(self, access: Access) -> None:
        """Let others do other things from now on; requests that are under way go on."""
        self.access = access
        self.limiter.keep_only(access.ring.keys)

    def shows(self, request: web.Request, path: str, right: Right) -> bool:
        """Say whether the port that a request came by has a route of this path, which needs this right."""
        if self.admin_port is None or right in {Right.USE, Right.KNOWN} or path == "/health":
            return True
        address = request.transport and request.transport.get_extra_info("sockname")
        return not isinstance(address, tuple) or address[1] == self.admin_port


class Visit(Struct, frozen=True):
    """One request that has been let in."""

    gate: Gate
    asked: Asked
    caller: Caller
    access: Access
    """As it was when the request came."""


GATE = web.AppKey("gate", Gate)
_VISIT = web.RequestKey("visit", Visit)
_NOBODY = Caller("anybody", frozenset())


@web.middleware
async def gate_keeping(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Let those in who may. Raises NotAuthenticated, NotAllowed, LimitReached, RequestTooSlow and what the handler does."""
    gate = request.app[GATE]
    if is_preflight(request.method, request.headers):
        return _preflight(request, gate.access)
    resource = request.match_info.route.resource
    if resource is None:  # nothing is there, or not by this method: the handler says so
        return await handler(request)
    right = right_for(request.method, resource.canonical)
    if not gate.shows(request, resource.canonical, right):
        raise web.HTTPNotFound
    asked = Asked(right, _peer(request), request.headers, request.scheme)
    caller = gate.access.admit(asked, time.time())
    request[_VISIT] = Visit(gate, asked, caller, gate.access)
    if right is not Right.USE or caller.key is None:
        return await _handled(gate, request, handler)
    gate.limiter.enter(caller.key, time.monotonic())
    response: web.StreamResponse | None = None
    try:
        response = await _handled(gate, request, handler)
    except UnknownModel as error:  # it lists the models that there are
        raise replace(error, known=tuple(filter(caller.may_use, error.known))) from error
    else:
        return response
    finally:
        tokens = _taken(request, response) if caller.key.limits.tokens else 0
        gate.limiter.leave(caller.key, tokens, time.monotonic())


def _taken(request: web.Request, response: web.StreamResponse | None) -> int:
    """Return how many tokens a request has taken: of a refusal, those that it tells of, for an engine that refuses reads and writes none."""
    tokens = tokens_of(request)
    if tokens and response is not None and response.status >= HTTPStatus.BAD_REQUEST:
        return journey_of(request).usage.said()
    return tokens


async def ask_nothing_yet(_request: web.Request) -> None:
    """Stand where aiohttp would ask for the body of whoever expects that, before it is known who it is."""


def _handled(gate: Gate, request: web.Request, handler: _Handler) -> Awaitable[web.StreamResponse]:
    at_once = request.content.is_eof() and "Expect" not in request.headers
    return handler(request) if at_once else _once_it_comes(gate, request, handler)


async def _once_it_comes(gate: Gate, request: web.Request, handler: _Handler) -> web.StreamResponse:
    expected = request.headers.get("Expect", "").lower()
    if expected and request.version >= HttpVersion11:
        if expected != "100-continue":
            raise web.HTTPExpectationFailed
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # of the answer itself nothing has been sent
    return await patiently(gate.patience, request, handler)


def _preflight(request: web.Request, access: Access) -> web.Response:
    """Answer a browser's question by what is configured; no engine is asked, nor woken."""
    allowed = preflight_headers(request.headers, access.origins)
    if allowed is None:
        origin = request.headers["Origin"]
        raise NotAllowed(f"a page of {origin!r}", "ask", hint="Configure its origin in access.cors_origins")
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=allowed)


def mark_answer(request: web.Request, response: web.StreamResponse) -> None:
    """Say which pages may read the answer, and how the key stands."""
    if is_preflight(request.method, request.headers):
        return
    visit = request.get(_VISIT)
    gate = visit.gate if visit else request.app[GATE]
    if gate.access.origins:
        response.headers.extend(cors_headers(request.headers, gate.access.origins))
    if visit and visit.caller.key:
        response.headers.update(gate.limiter.headers(visit.caller.key, time.monotonic()))


def _peer(request: web.Request) -> Peer:
    if request.transport is None:
        return Peer()
    address = request.transport.get_extra_info("peername")
    if isinstance(address, tuple):
        return Peer(str(address[0]))
    connection = request.transport.get_extra_info("socket")
    if connection is not None and connection.family == socket.AF_UNIX:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS_OF_PEER.size)
        return Peer(uid=_CREDENTIALS_OF_PEER.unpack(raw)[1])
    return Peer()


# ---- what handlers ask of it ----


def caller_of(request: web.Request) -> Caller:
    """Return who asks."""
    visit = request.get(_VISIT)
    return visit.caller if visit else _NOBODY


def may_still(request: web.Request, model: str | None = None) -> bool:
    """Say whether who asks would be let in now too, to this model: a key may have expired, or be gone since a reload."""
    visit = request.get(_VISIT)
    if visit is None:
        return True
    try:
        caller = visit.gate.access.admit(visit.asked, time.time())
    except (NotAuthenticated, NotAllowed):
        return False
    return model is None or caller.may_use(model)


def standing_of(request: web.Request) -> Standing:
    """Return how the key stands that a request came with, if any."""
    key = caller_of(request).key
    return request.app[GATE].limiter.standing(key, time.monotonic()) if key else Standing()


def owner_of(request: web.Request) -> Owner:
    """Return who asks, for what engines keep of them."""
    visit = request.get(_VISIT)
    return Owner(visit.caller.owner, visit.access.binds(visit.caller)) if visit else NOBODY


def answers_page(request: web.Request) -> bool:
    """Say whether the page that asks, if it is one, is of an origin that is configured; a WebSocket knows no preflight."""
    allowed = cors_headers(request.headers, request.app[GATE].access.origins)
    return "Access-Control-Allow-Origin" in allowed


def engine_headers(request: web.Request) -> Iterator[tuple[str, str]]:
    """Yield the headers that are an engine's business: not a key that was meant for llmux."""
    visit, headers = request.get(_VISIT), request.headers.items()
    hides = visit is not None and visit.access.hides_credentials(visit.caller)
    return without_keys(headers) if hides else iter(headers)


def spend(request: web.Request, tokens: int) -> None:
    """Take tokens at once that a request has taken which is under way: of a WebSocket nobody knows when it ends."""
    key = caller_of(request).key
    if key and key.limits.tokens:
        request.app[GATE].limiter.take(key, tokens, time.monotonic())
