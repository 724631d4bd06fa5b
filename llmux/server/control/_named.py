"""What llmux itself answers below /v1, for /openapi.json: the names that clients may ask for."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

from llmux.server import _proxy
from llmux.server.control._form import Answer, Call


class NameTold(Answer):
    """A name that clients may ask for, in OpenAI's form, with what vLLM says of adapters."""

    id: str
    object: Literal["model"]
    created: int
    """When llmux started, in seconds since the epoch."""
    owned_by: Literal["llmux"]
    root: str
    """What is served: the model's own name; an adapter's path."""
    parent: str | None
    """The model that an adapter is of."""
    state: str
    """The model's, as /control/status shows it."""


class NamesTold(Answer):
    """Every name that clients may ask for."""

    object: Literal["list"]
    data: tuple[NameTold, ...]


CALLS = (
    Call("GET", "/v1/models", _proxy.list_models, {HTTPStatus.OK: NamesTold}),
    Call("GET", "/v1/models/{name}", _proxy.show_model, {HTTPStatus.OK: NameTold}, (HTTPStatus.NOT_FOUND,)),
)
"""They are routed where everything below /v1 is."""
