"""Each request has an id, which its answer, its engine and its lines in the log have too, and one line when it is over.

The id is the client's X-Request-ID where that is one, else a new one. Clients may choose the same, or another's: what is to be done to
one request goes by its handle. The line says what was asked of whom and how it went, never what was said: no query, no header and
no body is logged.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import MutableMapping
from contextvars import Context, copy_context

from aiohttp import web
from msgspec import Struct, field

from llmux.server._logs import REQUEST, tell

log = logging.getLogger(__name__)

HEADER = "X-Request-ID"
CLIENT_GONE = 499
"""nginx's status for a request whose client went before it was sent anything."""
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
_QUIET = ("/health", "/metrics", "/control/", "/ui/")
"""Looked at every few seconds by machines and pages: worth a line only where that fails, or with --verbose."""
_LOOKS = frozenset({"GET", "HEAD"})


class Note(Struct):
    """What a request's line is to say."""

    id: str = ""
    began: float = field(default_factory=time.monotonic)
    model: str | None = None
    head: web.StreamResponse | None = None
    """The answer that is being sent."""
    client_gone: bool = False
    """The client has left before its answer was whole; where that cancels the handler it need not be told."""


_NOTE = web.RequestKey("note", Note)


def begin(request: web.Request) -> Note:
    """Give the request its id."""
    request_id = _given_or_new(request.headers.get(HEADER, ""))
    request[_NOTE] = note = Note(id=request_id)
    REQUEST.set(request_id)  # for good: the next request of its connection sets its own
    return note


def mark_answer(request: web.Request, response: web.StreamResponse) -> None:
    """Have an answer carry its request's id."""
    note = _note_of(request)
    note.head = response
    if note.id:
        response.headers[HEADER] = note.id


def pass_on(request: web.Request, headers: MutableMapping[str, str]) -> None:
    """Have its engine know a request by the same id."""
    if known := id_of(request):
        headers[HEADER] = known


def note_model(request: web.Request, name: str) -> None:
    """Keep which of the configured models a request is for."""
    _note_of(request).model = name


def head_of(request: web.Request) -> web.StreamResponse | None:
    """Return the answer that the client has been sent the head of, if any."""
    return _note_of(request).head if request.writer.output_size else None


def id_of(request: web.Request) -> str:
    """Return what the client, its engine and the log know a request by."""
    return _note_of(request).id


def handle_of(request: web.Request) -> str:
    """Return what no other request has: its id, unless its client has chosen that."""
    known = id_of(request)
    return known if known and known != request.headers.get(HEADER) else os.urandom(8).hex()


def _note_of(request: web.Request) -> Note:
    try:
        return request[_NOTE]
    except KeyError:  # it has not come through `observed`
        request[_NOTE] = note = Note()
        return note


def outside_requests() -> Context:
    """Return the context for a task that outlives the request that it is started in: its lines in the log are not that one's."""
    context = copy_context()
    context.run(REQUEST.set, "")
    return context


def _given_or_new(given: str) -> str:
    return given if _SANE.fullmatch(given) else os.urandom(16).hex()


def end(request: web.Request, note: Note, response: web.StreamResponse | None) -> None:
    """Log one line; without a response the client has gone, which cancels its handler."""
    gone = response is None or note.client_gone
    answer = response or head_of(request)
    status = answer.status if answer else CLIENT_GONE
    method = request.method
    path = request.rel_url.raw_path  # as it was sent, so that no character of it is more than one
    quiet = method in _LOOKS and path.startswith(_QUIET) and status < web.HTTPBadRequest.status_code
    told: dict[str, object] = {"request_id": note.id, "method": method, "path": path}
    if note.model is not None:
        told["model"] = note.model
    told["status"], told["seconds"] = status, round(time.monotonic() - note.began, 3)
    if answer:
        told["bytes"] = request.writer.output_size if answer.prepared else answer.content_length or 0
        if queued := answer.headers.get("x-llmux-queue-ms"):  # what its client is told of its way
            told["queue_ms"], told["wake"] = int(queued), answer.headers.get("x-llmux-wake")
    if gone:
        told["client_gone"] = True
    if client := request.remote:
        told["client"] = client
    end = ", the client has left" if gone and answer else ""
    level = logging.DEBUG if quiet else logging.INFO
    tell(log, level, f"{method} {path}: {status}{end}", told)
