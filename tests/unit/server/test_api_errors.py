"""Errors in each API's own form."""

from __future__ import annotations

import json

import pytest

from llmux.server import _api_errors
from llmux.server.errors import Problem

PROBLEM = Problem("queue_full", "too many wait", "ask later")
MESSAGES = "/v1/messages"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (501, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
def test_anthropics_types_go_by_the_status(status, kind):
    assert _api_errors.body(MESSAGES, status, PROBLEM, "server_error") == {
        "type": "error",
        "error": {"type": kind, "message": "too many wait. ask later"},
    }


def test_openais_say_type_parameter_and_code():
    error = _api_errors.body("/v1/completions", 404, PROBLEM, "invalid_request_error", "model")["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "model", "queue_full")


def test_a_stream_of_anthropics_ends_with_an_event_named_error():
    name, data, *rest = _api_errors.event(MESSAGES, PROBLEM).decode().split("\n")
    assert (name, rest) == ("event: error", ["", ""])
    assert json.loads(data.removeprefix("data: "))["error"]["type"] == "api_error"
    assert _api_errors.event("/v1/responses", PROBLEM).startswith(b'data: {"error"')


def test_a_websocket_is_told_as_much_as_its_closing_frame_carries():
    reason = _api_errors.closing_reason(Problem("engine_gone", "é" * 200))
    assert reason.startswith(b"engine_gone: ")
    assert len(reason) <= 123
    assert reason.decode()


def test_a_realtime_client_is_told_in_an_event_with_an_id():
    told = json.loads(_api_errors.realtime_event("event_1", PROBLEM, "server_error"))
    assert (told["event_id"], told["type"]) == ("event_1", "error")
    assert (told["error"]["type"], told["error"]["code"]) == ("server_error", "queue_full")
