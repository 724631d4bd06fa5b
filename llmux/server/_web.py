"""What all handlers share: the application's keys, and errors as JSON in the form of the API that the client speaks."""

from __future__ import annotations

import math
from http import HTTPStatus

from aiohttp import web

from llmux.server import _api_errors
from llmux.server._adapters import Adapters
from llmux.server._control_errors import (
    CheckpointInUse,
    CheckpointUnread,
    IdempotencyKeyReused,
    NoLog,
    OperationBrokenOff,
    RequestCancelled,
    TooManyOperations,
    UnknownCheckpoint,
    UnknownOperation,
    UnknownRequest,
)
from llmux.server._driver import Driver
from llmux.server._homes import Homes
from llmux.server._reload import Reloader
from llmux.server.access.errors import (
    LimitReached,
    ModelNotAllowed,
    NotAllowed,
    NotAuthenticated,
    RequestTooSlow,
)
from llmux.server.errors import (
    EngineLacks,
    EvictionRefused,
    IllegalMove,
    ModelUnavailable,
    OriginRefused,
    PathRefused,
    Problem,
    QueueFull,
    RequestInvalid,
    RequestTimedOut,
    ServerError,
    UnknownItem,
    UnknownModel,
)

DRIVER = web.AppKey("driver", Driver)
ADAPTERS = web.AppKey("adapters", Adapters)
HOMES = web.AppKey("homes", Homes)
RELOADER = web.AppKey("reloader", Reloader)
STARTED = web.AppKey("started", int)
"""When llmux started, in seconds since the epoch."""
PROBLEM = web.ResponseKey("problem", Problem)
"""What an answer of llmux's own tells of."""

_STATUSES: dict[type[ServerError], HTTPStatus] = {
    RequestInvalid: HTTPStatus.BAD_REQUEST,
    EvictionRefused: HTTPStatus.BAD_REQUEST,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    NotAllowed: HTTPStatus.FORBIDDEN,
    ModelNotAllowed: HTTPStatus.FORBIDDEN,
    RequestTooSlow: HTTPStatus.REQUEST_TIMEOUT,
    LimitReached: HTTPStatus.TOO_MANY_REQUESTS,
    UnknownModel: HTTPStatus.NOT_FOUND,
    UnknownOperation: HTTPStatus.NOT_FOUND,
    PathRefused: HTTPStatus.NOT_FOUND,
    UnknownItem: HTTPStatus.NOT_FOUND,
    UnknownRequest: HTTPStatus.NOT_FOUND,
    NoLog: HTTPStatus.NOT_FOUND,
    UnknownCheckpoint: HTTPStatus.NOT_FOUND,
    CheckpointInUse: HTTPStatus.CONFLICT,
    CheckpointUnread: HTTPStatus.UNPROCESSABLE_ENTITY,
    OriginRefused: HTTPStatus.FORBIDDEN,
    EngineLacks: HTTPStatus.NOT_IMPLEMENTED,
    IllegalMove: HTTPStatus.CONFLICT,
    IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooManyOperations: HTTPStatus.TOO_MANY_REQUESTS,
    OperationBrokenOff: HTTPStatus.SERVICE_UNAVAILABLE,
    RequestCancelled: HTTPStatus.SERVICE_UNAVAILABLE,
    QueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    ModelUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    RequestTimedOut: HTTPStatus.GATEWAY_TIMEOUT,
}

UNFORESEEN = Problem("internal_error", "llmux failed unforeseen", "See llmux's log")


def has_begun(request: web.Request) -> bool:
    """Say whether any of an answer has been sent."""
    return request.writer.output_size > 0


def error_response(error: ServerError, status: HTTPStatus | None = None, path: str = "") -> web.Response:
    """Return the answer that tells of `error`; `status` where it is another than its usual one, `path` is what was asked for."""
    status = status or _STATUSES.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
    problem = error.problem()
    body = _api_errors.body(path, status, problem, _kind(error, status), _param(error))
    return with_problem(problem, web.json_response(body, status=status, headers=_for_clients(error)))


def with_problem(problem: Problem, response: web.Response) -> web.Response:
    """Return an answer that is known to tell of `problem`."""
    response[PROBLEM] = problem
    return response


def _kind(error: ServerError, status: int) -> str:
    if isinstance(error, QueueFull | LimitReached):
        return "rate_limit_error"
    if isinstance(error, NotAllowed | ModelNotAllowed):
        return "permission_error"
    return "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"


def _param(error: ServerError) -> str | None:
    match error:
        case RequestInvalid(param=param):
            return param
        case UnknownModel() | ModelNotAllowed():
            return "model"
        case _:
            return None


def _for_clients(error: ServerError) -> dict[str, str]:
    match error:
        case NotAuthenticated():
            return {"WWW-Authenticate": "Bearer"}
        case (
            QueueFull(retry_after=float(seconds))
            | LimitReached(retry_after=float(seconds))
            | ModelUnavailable(retry_after=float(seconds))
        ):
            return {"Retry-After": str(max(1, math.ceil(seconds)))}
        case RequestCancelled() | EngineLacks():
            return {"x-should-retry": "false"}  # what OpenAI's and Anthropic's clients heed
        case _:
            return {}
