"""What is made of a model's requests on their way to its engine: `request_defaults` and `request_caps` of `models.NAME`."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from llmux.server.config._types import Count, Section, Text

Fields = dict[Text, JsonValue]
"""Fields of a JSON object, of any kind."""

_EACH_CLIENTS_OWN = frozenset({"model", "stream"})


class RequestCaps(Section):
    """Bounds on what a request may ask for."""

    max_tokens: Count | None = None
    """Tokens of an answer: `max_tokens`, `max_completion_tokens` and `max_output_tokens` that say more are lowered to it, and a request that says none gets it."""


def defaults_fault(defaults: Mapping[str, object]) -> str:
    """Return why these cannot be fields that requests get; or an empty text."""
    reserved = sorted(_EACH_CLIENTS_OWN & defaults.keys())
    return f"request_defaults.{reserved[0]}: that is each client's own to say" if reserved else ""
