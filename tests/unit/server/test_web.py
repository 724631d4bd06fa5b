"""Each error of ours has its status and OpenAI's form."""

from __future__ import annotations

import json

import pytest

from llmux.server._effect_errors import EngineRefused
from llmux.server._web import error_response
from llmux.server.errors import (
    EvictionRefused,
    IllegalMove,
    ModelUnavailable,
    Problem,
    RequestInvalid,
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
