"""What llmux writes into a request on its way to an engine: the engine's name of the model, defaults, caps. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote

from llmux.server import _multipart

_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict")
"""The names of an answer's length; the last is llama.cpp's, which it heeds beside OpenAI's."""
_OF_REMOTE_CHATS = ("max_tokens", "max_completion_tokens")
"""OpenAI refuses both together; engines take both, and llama.cpp heeds the first alone."""


def edited(
    fields: Mapping[str, object],
    model: str,
    defaults: Mapping[str, object],
    cap: int | None,
    limits: tuple[str, ...],
) -> dict[str, object]:
    """Return a request's fields with the engine's name of the model, what they do not say, and no more tokens than `cap`.

    `limits` is what the request's API calls the length of an answer: one of these is said in the end, whatever else is.
    """
    joined = _joined(defaults, fields) | {"model": model}
    if cap is None:
        return joined
    said = [name for name in _LIMITS if joined.get(name) is not None]
    # What another API calls it bounds nothing here: engines pass over fields that they do not know.
    bounding = [] if any(name in limits for name in said) else [limits[0]]
    return joined | {name: _capped(joined.get(name), cap) for name in (*said, *bounding)}


def limits_of(path: str, engine: str) -> tuple[str, ...]:
    """Return what bounds an answer of this path by this kind of engine, the usual word first."""
    path = path.rstrip("/")
    if path.endswith("/responses"):
        return ("max_output_tokens",)
    return _OF_REMOTE_CHATS if engine == "remote" and path.endswith("/chat/completions") else ("max_tokens",)


def packed(fields: Mapping[str, object]) -> bytes:
    """Return fields as a body."""
    return json.dumps(fields, separators=(",", ":")).encode()


def form(content_type: str, body: bytes, model: str) -> bytes:
    """Return a form with another name in its field `model`, and everything else as it was."""
    for part in _multipart.parts(content_type, body):
        if part.name == "model":
            return body[: part.start] + model.encode() + body[part.end :]
    return body


def query(target: str, model: str) -> str:
    """Return a path and query, as they are written, with another name in the field `model`, and the rest as it was."""
    path, mark, fields = target.partition("?")
    written = [
        f"model={quote(model, safe='')}" if field.partition("=")[0] == "model" else field
        for field in fields.split("&")
    ]
    return path + mark + "&".join(written)


def _joined(under: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    both = {
        name: _joined(value, said)
        for name, value in under.items()
        if isinstance(value, Mapping) and isinstance(said := over.get(name), Mapping)
    }
    return {**under, **over, **both}


def _capped(value: object, cap: int) -> object:
    """Return at most `cap`: whatever an engine may take for more, or for no bound, is it."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= cap
    return value if fits else cap
