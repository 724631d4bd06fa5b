"""Each error of ours has its status and OpenAI's form."""

from __future__ import annotations

import json

import pytest

from llmux.server._effect_errors import EngineRefused
from llmux.server._web import error_response
from llmux.server.access.errors import (
    LimitReached,
    ModelNotAllowed,
    NotAllowed,
    NotAuthenticated,
    RequestTooSlow,
)
from llmux.server.errors import (
    EvictionRefused,
    IllegalMove,
    ModelUnavailable,
    Problem,
    QueueFull,
    RequestInvalid,
    RequestTimedOut,
    UnknownModel,
)


@pytest.mark.parametrize(
    ("error", "status", "kind", "param"),
    [
        (RequestInvalid("no such thing", "messages"), 400, "invalid_request_error", "messages"),
        (EvictionRefused("no driver"), 400, "invalid_request_error", None),
        (UnknownModel("x", ("m",)), 404, "invalid_request_error", "model"),
        (IllegalMove("asleep", "be put to sleep"), 409, "invalid_request_error", None),
        (ModelUnavailable("m", Problem("stopping", "llmux is stopping")), 503, "server_error", None),
        (QueueFull("m", 7, "it", 3.0), 429, "rate_limit_error", None),
        (NotAuthenticated("no key"), 401, "invalid_request_error", None),
        (NotAllowed("k", "admin"), 403, "permission_error", None),
        (ModelNotAllowed("m", "k"), 403, "permission_error", "model"),
        (LimitReached("k", "3 requests a minute", 2.0), 429, "rate_limit_error", None),
        (RequestTooSlow(3, 30.0), 408, "invalid_request_error", None),
        (RequestTimedOut("m", 600, "waking"), 504, "server_error", None),
        (EngineRefused("http://x", 500, "boom"), 500, "server_error", None),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_error_has_its_status_and_form(error, status, kind, param):
    response = error_response(error)
    body = json.loads(response.body)["error"]
    assert (response.status, body["type"], body["param"]) == (status, kind, param)
    assert body["code"] == error.problem().code
    assert error.what() in body["message"]


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (QueueFull("m", 7, "it", 3.2), "4"),
        (QueueFull("m", 7, "it", 0.0), "1"),
        (LimitReached("k", "3 requests a minute", 2.1), "3"),
        (ModelUnavailable("m", Problem("x", "y"), 61.0), "61"),
        (ModelUnavailable("m", Problem("stopping", "llmux is stopping")), None),
        (UnknownModel("m"), None),
    ],
)
def test_who_may_come_again_is_told_when(error, seconds):
    assert error_response(error).headers.get("Retry-After") == seconds
