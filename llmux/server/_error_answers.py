"""Every error as an answer: JSON in the form of its path's API, unknown paths and wrong methods included."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from llmux.server import _api_errors, _apis
from llmux.server._gate import GATE
from llmux.server._web import UNFORESEEN, error_response, has_begun, with_problem
from llmux.server.access.roles import right_for
from llmux.server.errors import Problem, ServerError

log = logging.getLogger(__name__)

_WAYS_IN = {
    "/v1/models": "/v1/models lists the models",
    "/ui/": "/ui/ is a page for people",
    "/openapi.json": "/openapi.json describes llmux's own calls",
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def errors_as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Answer every error in its path's form."""
    try:
        return await handler(request)
    except ServerError as error:
        return error_response(error, path=request.path)
    except web.HTTPException as error:
        problem = Problem(
            error.reason.lower().replace(" ", "_"),
            f"{request.method} {request.path}: {error.reason}",
            _what_there_is(request) if error.status == HTTPStatus.NOT_FOUND else "",
        )
        headers = {"Allow": allow} if (allow := error.headers.get("Allow")) else None
        body = _api_errors.body(request.path, error.status, problem, "invalid_request_error")
        return with_problem(problem, web.json_response(body, status=error.status, headers=headers))
    except Exception:
        log.exception("%s %s failed unforeseen", request.method, request.path)
        if has_begun(request):
            raise  # a second answer would be read as a part of the first; the server closes the connection
        body = _api_errors.body(request.path, HTTPStatus.INTERNAL_SERVER_ERROR, UNFORESEEN, "server_error")
        return with_problem(UNFORESEEN, web.json_response(body, status=HTTPStatus.INTERNAL_SERVER_ERROR))


def _what_there_is(request: web.Request) -> str:
    """Return what somebody may have wanted who asked for a path that there is not: a call of an API, or what this port has."""
    if meant := _apis.meant(request.path):
        return f"Did you mean {meant}?"
    gate = request.app[GATE]
    shown = (words for path, words in _WAYS_IN.items() if gate.shows(request, path, right_for("GET", path)))
    return "; ".join(shown)
