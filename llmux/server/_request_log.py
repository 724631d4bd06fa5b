"""Each request has an id, which its answer, its engine and its lines in the log have too, and one line when it is over.

The id is the client's X-Request-ID where that is one, else a new one. Clients may choose the same, or another's: what is to be done to
one request goes by its handle. The line says what was asked of whom and how it went, never what was said: no query, no header and
no body is logged.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context

import structlog
from aiohttp import web

from llmux.server._logs import tell

log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
CLIENT_GONE = 499
"""nginx's status for a request whose client went before it was sent anything."""
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
_ID = web.RequestKey("request_id", str)
_MODEL = web.RequestKey("model", str)
_HEAD = web.RequestKey("head", web.StreamResponse)
_GONE = web.RequestKey("client_gone", bool)
_QUIET = ("/health", "/metrics", "/control/", "/ui/")
"""Looked at every few seconds by machines and pages: worth a line only where that fails, or with --verbose."""
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def request_log(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Give the request its id, and log it when it is over; the outermost of all middlewares."""
    request[_ID] = request_id = _given_or_new(request.headers.get(HEADER, ""))
    began = time.monotonic()
    response: web.StreamResponse | None = None
    # Never unbound: the next request of its connection binds its own.
    structlog.contextvars.bind_contextvars(request_id=request_id)
    try:
        response = await handler(request)
    finally:
        _tell(request, response, time.monotonic() - began)
    return response


def listen(app: web.Application) -> None:
    """Have every answer of `app` carry its request's id."""
    app.on_response_prepare.append(_mark)


def note_model(request: web.Request, name: str) -> None:
    """Keep which of the configured models a request is for."""
    request[_MODEL] = name


def note_client_gone(request: web.Request) -> None:
    """Keep that the client has left before its answer was whole; where that cancels the handler it need not be told."""
    request[_GONE] = True


def head_of(request: web.Request) -> web.StreamResponse | None:
    """Return the answer that the client has been sent the head of, if any."""
    return request.get(_HEAD) if request.writer.output_size else None


def id_of(request: web.Request) -> str:
    """Return what the client, its engine and the log know a request by."""
    known: str = request.get(_ID, "")
    return known


def handle_of(request: web.Request) -> str:
    """Return what no other request has: its id, unless its client has chosen that."""
    known = id_of(request)
    return known if known and known != request.headers.get(HEADER) else secrets.token_hex(8)


def passed_on(request: web.Request) -> dict[str, str]:
    """Return the headers by which an engine knows the request."""
    known = request.get(_ID)
    return {HEADER: known} if known else {}


def outside_requests() -> Context:
    """Return the context for a task that outlives the request that it is started in: its lines in the log are not that one's."""
    context = copy_context()
    context.run(structlog.contextvars.unbind_contextvars, "request_id")
    return context


def _given_or_new(given: str) -> str:
    return given if _SANE.fullmatch(given) else secrets.token_hex(16)


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    request[_HEAD] = response
    response.headers.update(passed_on(request))


def _tell(request: web.Request, response: web.StreamResponse | None, seconds: float) -> None:
    """Log one line; without a response the client has gone, which cancels its handler."""
    gone = response is None or request.get(_GONE, False)
    answer = response or head_of(request)
    status = answer.status if answer else CLIENT_GONE
    path = request.rel_url.raw_path  # as it was sent, so that no character of it is more than one
    looks = request.method in {"GET", "HEAD"} and path.startswith(_QUIET)
    quiet = looks and status < web.HTTPBadRequest.status_code
    fields = {
        "method": request.method,
        "path": path,
        "model": request.get(_MODEL),
        "status": status,
        "seconds": round(seconds, 3),
        "bytes": answer and (request.writer.output_size if answer.prepared else answer.content_length),
        **_way(answer),
        "client_gone": gone or None,
        "client": request.remote,
    }
    told = {name: value for name, value in fields.items() if value is not None}
    end = ", the client has left" if gone and answer else ""
    level = logging.DEBUG if quiet else logging.INFO
    tell(log, level, f"{request.method} {path}: {status}{end}", told)


def _way(response: web.StreamResponse | None) -> dict[str, object]:
    """Return how long it waited and for what, which the answer's headers tell its client too (`_routing.way_headers`)."""
    headers = response.headers if response else {}
    queued = headers.get("x-llmux-queue-ms", "")
    return {"queue_ms": int(queued) if queued.isdecimal() else None, "wake": headers.get("x-llmux-wake")}
