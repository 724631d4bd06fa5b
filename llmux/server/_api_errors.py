"""Errors that llmux itself makes, in the form of the API that the client speaks. Pure.

https://docs.anthropic.com/en/api/errors: a type for each status, and on a stream an event named `error`.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from llmux.server import _routing
from llmux.server._apis import Form, form_of
from llmux.server.errors import Problem

_ANTHROPIC_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
    HTTPStatus.GATEWAY_TIMEOUT: "timeout_error",
}
_REALTIME_REASON = 123
"""Bytes; RFC 6455 section 5.5: a control frame carries 125, two of them the code."""


def body(path: str, status: int, problem: Problem, kind: str, param: str | None = None) -> dict[str, object]:
    """Return the body of an error that answers a request for `path`; `kind` is its type in OpenAI's form."""
    if form_of(path) is Form.ANTHROPIC:
        return _anthropic(status, problem)
    return _routing.error_body(problem, kind, param)


def event(path: str, problem: Problem) -> bytes:
    """Return the event that tells a stream's client that no more comes, as its library raises it."""
    if form_of(path) is Form.ANTHROPIC:
        told = json.dumps(_anthropic(HTTPStatus.INTERNAL_SERVER_ERROR, problem)).encode()
        return b"event: error\ndata: " + told + b"\n\n"
    return _routing.error_event(problem)


def realtime_event(event_id: str, problem: Problem, kind: str) -> str:
    """Return the message that tells a realtime client of an error; `kind` is its type in OpenAI's form."""
    return json.dumps({"event_id": event_id, "type": "error", **_routing.error_body(problem, kind)})


def closing_reason(problem: Problem) -> bytes:
    """Return the same as a WebSocket's closing frame can carry it."""
    told = f"{problem.code}: {problem.message}".encode()[:_REALTIME_REASON]
    return told.decode("utf-8", "ignore").encode()


def _anthropic(status: int, problem: Problem) -> dict[str, object]:
    return {"type": "error", "error": {"type": _anthropic_type(status), "message": str(problem)}}


def _anthropic_type(status: int) -> str:
    for each, kind in _ANTHROPIC_TYPES.items():
        if each == status:
            return kind
    return "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "api_error"
