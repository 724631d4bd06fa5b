"""What an answer says, whole or in pieces: its text's beginning and end, its tokens, its error. Pure.

Sources: OpenAI's API reference, chat completions and completions; the HTML Standard's section on server-sent events.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

BROKEN_OFF = "broken_off"
"""The code of an answer without its proper end."""


@dataclass
class Stream:
    """A streamed answer as far as it has come."""

    pieces: int = 0
    """The events that brought text."""
    counted: int | None = None
    """The tokens as the engine counts them."""
    whole: bool = False
    """Its proper end has come."""
    error: str = ""
    """The code of the error that it ended with."""
    message: str = ""
    """What that error says."""

    def take(self, line: str) -> bool:
        """Take one line; say whether it brought text."""
        if not line.startswith("data:"):
            return False
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            self.whole = True
            return False
        event = read(data)
        if "error" in event:
            self.error, self.message = code_of(event, BROKEN_OFF), message_of(event)
        counted = tokens_of(event)
        self.counted = self.counted if counted is None else counted
        text = any(_has_text(choice) for choice in _list(event.get("choices")))
        self.pieces += text
        return text

    @property
    def problem(self) -> str:
        """Return the code of what went wrong, or nothing."""
        return self.error or ("" if self.whole else BROKEN_OFF)

    @property
    def tokens(self) -> int:
        """Return the tokens: an engine that does not count them sends each in a piece of its own, as a rule."""
        return self.pieces if self.counted is None else self.counted


def read(text: str) -> dict[str, object]:
    """Return a JSON object, an empty one where it is none."""
    try:
        value: object = json.loads(text)
    except ValueError:
        return {}
    return _dict(value)


def code_of(body: dict[str, object], otherwise: str) -> str:
    """Return an error's code in OpenAI's form, its type where it has no code."""
    error = _dict(body.get("error"))
    return str(error.get("code") or error.get("type") or otherwise)


def message_of(body: dict[str, object]) -> str:
    """Return what an error says."""
    return str(_dict(body.get("error")).get("message") or "")


def tokens_of(body: dict[str, object]) -> int | None:
    """Return how many tokens an answer says that it has; None where it does not say."""
    counted = _dict(body.get("usage")).get("completion_tokens")
    return counted if type(counted) is int else None


def _has_text(choice: object) -> bool:
    """Say whether it has any: an answer's, or that of its reasoning or of a call of a tool."""
    said = _dict(choice)
    delta = {name: value for name, value in _dict(said.get("delta")).items() if name != "role"}
    return bool(said.get("text")) or any(delta.values())


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
