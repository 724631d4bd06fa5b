"""Which route needs what."""

from __future__ import annotations

import pytest

from llmux.server.access.roles import ROUTES, Right, Role, right_for, rights


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("GET", "/health", Right.OPEN),
        ("HEAD", "/health", Right.OPEN),
        ("POST", "/health", Right.ADMIN),
        ("GET", "/ui", Right.OPEN),
        ("GET", "/ui/{file}", Right.OPEN),
        ("GET", "/v1/models", Right.USE),
        ("DELETE", "/v1/{path}", Right.USE),
        ("OPTIONS", "/v1/{path}", Right.USE),
        ("GET", "/v1beta", Right.ADMIN),
        ("GET", "/control/whoami", Right.KNOWN),
        ("POST", "/control/whoami", Right.ADMIN),
        ("GET", "/metrics", Right.OBSERVE),
        ("GET", "/control/status", Right.OBSERVE),
        ("GET", "/control/logs", Right.CONTROL),
        ("GET", "/control/logs/{model}", Right.CONTROL),
        ("PUT", "/control/log-level", Right.ADMIN),
        ("DELETE", "/control/requests/{id}", Right.CONTROL),
        ("PUT", "/control/mode", Right.CONTROL),
        ("POST", "/tokenize", Right.USE),
        ("POST", "/control/sleep", Right.CONTROL),
        ("POST", "/control/wake", Right.CONTROL),
        ("POST", "/control/sleep/{more}", Right.ADMIN),
        ("POST", "/control/reload", Right.ADMIN),
        ("DELETE", "/control/checkpoints/{model}", Right.ADMIN),
        ("GET", "/controls", Right.ADMIN),
        ("GET", "/", Right.OPEN),
        ("POST", "/", Right.ADMIN),
        ("GET", "/nowhere", Right.ADMIN),
        ("BREW", "/v1/models", Right.ADMIN),
    ],
)
def test_a_route_needs_a_right_and_an_unknown_one_the_highest(method, path, right):
    assert right_for(method, path) is right


def test_what_each_role_may_do():
    assert {role: sorted(rights(role) - {Right.OPEN, Right.KNOWN}) for role in Role} == {
        Role.USE: ["use"],
        Role.OBSERVE: ["observe"],
        Role.CONTROL: ["control", "observe", "use"],
        Role.ADMIN: ["admin", "control", "observe", "use"],
    }


def test_nothing_that_changes_anything_is_open():
    assert all(
        methods <= {"GET", "HEAD"} for methods, _, right in ROUTES if right in {Right.OPEN, Right.KNOWN}
    )
