"""Whether an engine's refusal says that it has no such call, or that what was asked for is not there. Pure.

FastAPI answers a path that it does not have by {"detail": "Not Found"}, llama.cpp by the message "File Not Found", aiohttp
and others by a text or a page. vLLM says of a model or a response that it does not exist, in an error with a message.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from llmux.server import _apis

REFUSALS = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})
LONGEST = 1 << 16
"""Bytes; a longer answer says more than that a path is not there."""

_METHODS = frozenset({"GET", "POST", "DELETE"})
_NO_SUCH_PATH = frozenset({"", "not found", "file not found", "page not found", "method not allowed"})
_EXCERPT = 300


def may_lack(status: int, method: str, path: str) -> bool:
    """Say whether the body has to be looked at."""
    return status in REFUSALS and method in _METHODS and _apis.known(path)


def lacks(status: int, body: bytes) -> bool:
    """Say whether the engine has no such call."""
    if status != HTTPStatus.NOT_FOUND:
        return True
    words = _words(body)
    return words is None or words.strip(" .").lower().removeprefix("404: ") in _NO_SUCH_PATH


def excerpt(body: bytes) -> str:
    """Return what the engine says of it, or nothing."""
    return (_words(body) or "").strip()[:_EXCERPT]


def _words(body: bytes) -> str | None:
    """Return the message of an error in JSON; None where it is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = value.get("error", value) if isinstance(value, dict) else None
    if isinstance(error, str):
        return error
    if not isinstance(error, dict):
        return None
    said = error.get("message", error.get("detail"))
    return said if isinstance(said, str) else None
