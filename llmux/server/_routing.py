"""Which model a request is for, and which headers travel on. Pure.

Sources: RFC 9110 section 7.6.1 (hop-by-hop headers), OpenAI's API reference (errors, the list of models).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP

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
_NOT_ASKED_ON = frozenset({"host", "content-length", "content-encoding", "expect"})

Headers = list[tuple[str, str]]


def model_in(content_type: str, body: bytes) -> str:
    """Return the name in the `model` field of a JSON or multipart body. Raises RequestInvalid."""
    if content_type.partition(";")[0].strip().lower() == "multipart/form-data":
        return _model_in_form(content_type, body)
    return _model_in_json(body)


def _model_in_json(body: bytes) -> str:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestInvalid(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestInvalid("the body is not a JSON object")
    model = value.get("model")
    if not isinstance(model, str) or not model:
        raise RequestInvalid(
            'the body has no "model"' if model is None else '"model" is not a text',
            "model",
            hint="GET /v1/models lists the names",
        )
    return model


def _model_in_form(content_type: str, body: bytes) -> str:
    # The names of a form's parts are in MIME headers, so the standard library's MIME parser reads them.
    form = BytesParser(policy=HTTP).parsebytes(
        b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n" + body
    )
    for part in form.iter_parts() if form.is_multipart() else ():
        if _form_name(part) == "model":
            payload = part.get_payload(decode=True)
            return payload.decode("utf-8", "replace").strip() if isinstance(payload, bytes) else ""
    raise RequestInvalid('the form has no field "model"', "model", hint="GET /v1/models lists the names")


def _form_name(part: Message) -> object:
    return part.get_param("name", header="content-disposition")


def request_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """Return the headers of a client's request that its engine gets; the body's length is set anew."""
    return [(name, value) for name, value in _end_to_end(headers) if name.lower() not in _NOT_ASKED_ON]


def response_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    """Return the headers of an engine's answer that the client gets."""
    return _end_to_end(headers)


def way_headers(queued: float, wake: str, replica: str | None) -> Headers:
    """Return what tells a client of its request's way: seconds waited, what for, and where there are several, which replica."""
    told = [("x-llmux-queue-ms", str(round(queued * 1000))), ("x-llmux-wake", wake)]
    return told if replica is None else [*told, ("x-llmux-replica", replica)]


def _end_to_end(headers: Iterable[tuple[str, str]]) -> Headers:
    pairs = list(headers)
    named = {
        token.strip().lower()
        for name, value in pairs
        if name.lower() == "connection"
        for token in value.split(",")
    }
    dropped = _HOP_BY_HOP | named
    return [(name, value) for name, value in pairs if name.lower() not in dropped]


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


def models_body(cards: Iterable[Card], created: int) -> dict[str, object]:
    """Return the list of models in OpenAI's form."""
    return {"object": "list", "data": [model_body(card, created) for card in cards]}


def model_body(card: Card, created: int) -> dict[str, object]:
    """Return one model in OpenAI's form, with what vLLM says of adapters."""
    return {
        "id": card.name,
        "object": "model",
        "created": created,
        "owned_by": "llmux",
        "root": card.root,
        "parent": card.parent,
    }
