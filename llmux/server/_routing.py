"""Which model a request is for, and which headers travel on. Pure.

Sources: RFC 9110 section 7.6.1 (hop-by-hop headers), OpenAI's API reference (errors, the list of models).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from msgspec import Struct
from pydantic_core import from_json

from llmux.server import _multipart
from llmux.server.errors import Problem, RequestInvalid

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# The body travels on as it was decoded, and its length is set anew.
_NOT_ASKED_ON = _HOP_BY_HOP | {"host", "content-length", "content-encoding", "expect"}

_INERT = {"content-security-policy": "sandbox", "x-content-type-options": "nosniff"}
"""An answer that a browser is led to is at the address of llmux's page, and no script in it may speak for that."""

# What an engine says of its own address and account, of the pages that may read its answers, and of what llmux says itself: clients
# are at llmux's.
_NOT_TOLD_ON = _HOP_BY_HOP.union(
    {
        "access-control-allow-credentials",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "access-control-allow-private-network",
        "access-control-expose-headers",
        "access-control-max-age",
        "alt-svc",
        "clear-site-data",
        "openai-organization",
        "openai-project",
        "set-cookie",
        "strict-transport-security",
        "x-llmux-queue-ms",
        "x-llmux-replica",
        "x-llmux-wake",
    },
    _INERT,
)

_MODEL = "model"
_ESCAPED_LETTER = re.compile(rb"\\u00[67]")
"""Of a small one, which no JSON writer escapes."""

_LISTED = "GET /v1/models lists the names"

Headers = list[tuple[str, str]]


class Said(Struct, frozen=True):
    """What a request's body says, as far as llmux reads it."""

    model: str | None = None
    fields: Mapping[str, object] | None = None
    """Of a JSON object."""


def read(content_type: str, body: bytes) -> Said:
    """Return what a JSON or multipart body says. Raises RequestInvalid."""
    if is_form(content_type):
        return Said(_model_in_form(content_type, body))
    return read_json(body)


def is_form(content_type: str) -> bool:
    """Say whether a body of this type is a form."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def read_json(body: bytes) -> Said:
    """Return what a JSON body says. Raises RequestInvalid."""
    try:
        value = _json_in(body)
    except (ValueError, RecursionError) as error:
        raise RequestInvalid(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestInvalid("the body is not a JSON object")
    model = value.get("model")
    if model is not None and (not isinstance(model, str) or not model):
        raise RequestInvalid('"model" is not a text, or empty', "model", hint=_LISTED)
    if _names_models(value, body):
        raise RequestInvalid('the body has more than one "model", or writes it otherwise', "model")
    return Said(model, value)


def _json_in(body: bytes) -> object:
    """Return what a body says: by pydantic's parser, which takes a quarter of json's time, and by json where that refuses it, a half of an emoji for one."""
    try:
        return from_json(body)
    except ValueError:
        return json.loads(body)


def _names_models(value: Mapping[str, object], body: bytes) -> bool:
    """Say whether engines may differ in which model a body names: some take the first of two, some know no capitals."""
    if [name for name in value if len(name) == len(_MODEL) and name != _MODEL and name.lower() == _MODEL]:
        return True
    if body.count(b'model"') <= 1 and not _ESCAPED_LETTER.search(body):
        return False
    pairs = json.loads(body, object_pairs_hook=list)
    return [name for name, _ in pairs].count(_MODEL) > 1


def _model_in_form(content_type: str, body: bytes) -> str | None:
    names = [
        body[part.start : part.end].decode("utf-8", "replace").strip()
        for part in _multipart.parts(content_type, body)
        if part.name == "model"
    ]
    if len(names) > 1:  # engines differ in which they take
        raise RequestInvalid('the form has more than one field "model"', "model")
    return names[0] if names else None


def request_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """Return the headers of a client's request that its engine gets; the body's length is set anew."""
    return _without(_NOT_ASKED_ON, headers)


def response_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """Return the headers of an engine's answer that the client gets."""
    return [*_without(_NOT_TOLD_ON, headers), *_INERT.items()]


def way_headers(queued: float, wake: str, replica: str | None) -> Headers:
    """Return what tells a client of its request's way: seconds waited, what for, and where there are several, which replica."""
    told = [("x-llmux-queue-ms", str(round(queued * 1000))), ("x-llmux-wake", wake)]
    return told if replica is None else [*told, ("x-llmux-replica", replica)]


def _without(dropped: frozenset[str], headers: Iterable[tuple[str, str]]) -> Headers:
    """Leave out those that are not end to end too, and those that Connection names."""
    kept, named = [], ""
    for pair in headers:
        lower = pair[0].lower()
        if lower not in dropped:
            kept.append(pair)
        elif lower == "connection":
            named += f",{pair[1]}"
    if not named:
        return kept
    tokens = {token.strip().lower() for token in named.split(",")}
    return [pair for pair in kept if pair[0].lower() not in tokens]


def error_body(problem: Problem, kind: str, param: str | None = None) -> dict[str, object]:
    """Return an error in the form that OpenAI's clients parse, and with its hint apart."""
    error = {
        "message": str(problem),
        "type": kind,
        "param": param,
        "code": problem.code,
        "hint": problem.hint,
    }
    return {"error": error}


def error_event(problem: Problem) -> bytes:
    """Return the event that tells a stream's client that no more comes, in the form that OpenAI's clients raise as an error."""
    return b"data: " + json.dumps(error_body(problem, "server_error")).encode() + b"\n\n"


@dataclass(frozen=True)
class Card:
    """What /v1/models says of a name that clients may ask for."""

    name: str
    root: str
    """What is served: an adapter's path; a model's own name."""
    parent: str | None = None
    """The model that an adapter is of."""
    state: str = "not_started"
    """The model's, as /control/status shows it."""


def models_body(cards: Iterable[Card], created: int) -> dict[str, object]:
    """Return the list of models in OpenAI's form."""
    return {"object": "list", "data": [model_body(card, created) for card in cards]}


def model_body(card: Card, created: int) -> dict[str, object]:
    """Return one model in OpenAI's form, with what vLLM says of adapters, and its state."""
    return {
        "id": card.name,
        "object": "model",
        "created": created,
        "owned_by": "llmux",
        "root": card.root,
        "parent": card.parent,
        "state": card.state,
    }
