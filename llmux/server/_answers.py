"""What is looked for, or written anew, in an answer on its way back. Pure.

Each stage is given every piece of an answer as it comes, and gives what is to be sent of it; at the end, the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Protocol

_LONGEST_LOOKED_AT = 4 << 20
"""Bytes of an answer that is kept to look for its id."""
_LONGEST_HELD = 1 << 20
"""Bytes of an event that is waited for whole."""
EVENT_ENDS = (b"\r\n\r\n", b"\n\n", b"\r\r")
"""Any of these ends an event of a stream (WHATWG's HTML, server-sent events)."""
_NESTED = ("response", "message")
"""Where an event has the answer that it is about: OpenAI's Responses, Anthropic's Messages."""


class Stage(Protocol):
    """One of them."""

    def feed(self, chunk: bytes) -> bytes:
        """Take what has come; return what is to be sent."""

    def end(self) -> bytes:
        """Return what is still to be sent."""


class RenamedJson:
    """An answer in JSON in which the client finds the name that it has asked by."""

    def __init__(self, served: str, asked: str) -> None:
        self._served, self._asked = served, asked
        self._whole = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        self._whole += chunk
        return b""

    def end(self) -> bytes:
        return _renamed(bytes(self._whole), self._served, self._asked)


class WholeEvents:
    """A stream of events, each sent when it is whole, so that one of llmux's own can follow wherever the stream breaks off."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        if not self._held and chunk.endswith(EVENT_ENDS):
            return self._events(chunk)
        whole, self._held = _until_last_event(self._held + chunk)
        if len(self._held) > _LONGEST_HELD:
            whole, self._held = whole + self._held, b""
        return self._events(whole)

    def end(self) -> bytes:
        return self._events(self._held)

    def _events(self, events: bytes) -> bytes:
        return events


class RenamedEvents(WholeEvents):
    """The same, in which the client finds the name that it has asked by."""

    def __init__(self, served: str, asked: str) -> None:
        super().__init__()
        self._served, self._asked = served, asked

    def _events(self, events: bytes) -> bytes:
        if b'"model"' not in events:
            return events
        return b"".join(self._line(line) for line in events.splitlines(keepends=True))

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:") or b'"model"' not in line:
            return line
        data = line[5:].rstrip(b"\r\n")
        return b"data: " + _renamed(data, self._served, self._asked) + line[5 + len(data) :]


class ObjectSeen:
    """An answer that passes as it is, and whose object is told of once it is known."""

    def __init__(self, tell: Callable[[Mapping[str, object]], None], *, events: bool) -> None:
        self._tell = tell
        self._events = events
        self._seen: bytes | None = b""

    def feed(self, chunk: bytes) -> bytes:
        if self._seen is not None:
            self._seen += chunk
            if self._events and any(end in self._seen for end in EVENT_ENDS):
                self._look(_data_of_first(self._seen))
            elif len(self._seen) > _LONGEST_LOOKED_AT:
                self._seen = None
        return chunk

    def end(self) -> bytes:
        if self._seen:
            self._look(self._seen)
        return b""

    def _look(self, data: bytes) -> None:
        self._seen = None
        value = _object(data)
        if value is not None:
            nested = value.get("response")
            self._tell(nested if isinstance(nested, dict) else value)


class OnlySome:
    """A list of objects, of which a client sees those alone that it may; what is no such list has nothing in it."""

    def __init__(self, may_see: Callable[[str], bool]) -> None:
        self._may_see = may_see
        self._whole = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        self._whole += chunk
        return b""

    def end(self) -> bytes:
        if not self._whole:
            return b""
        value = _object(bytes(self._whole)) or {}
        listed = value.get("data")
        seen = [each for each in listed if self._is_seen(each)] if isinstance(listed, list) else []
        ends = {"first_id": seen[0]["id"], "last_id": seen[-1]["id"]} if seen else {}
        told = {"object": "list", "data": seen, **ends, "has_more": value.get("has_more") is True}
        return json.dumps(told, separators=(",", ":")).encode()

    def _is_seen(self, each: object) -> bool:
        return isinstance(each, dict) and isinstance(each.get("id"), str) and self._may_see(each["id"])


def _renamed(data: bytes, served: str, asked: str) -> bytes:
    value = _object(data)
    if value is None:
        return data
    found = [each for each in (value, *map(value.get, _NESTED)) if isinstance(each, dict)]
    named = [each for each in found if each.get("model") == served]
    for each in named:
        each["model"] = asked
    return json.dumps(value, separators=(",", ":")).encode() if named else data


def _object(data: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _until_last_event(data: bytes) -> tuple[bytes, bytes]:
    end = max(at + len(mark) if (at := data.rfind(mark)) >= 0 else 0 for mark in EVENT_ENDS)
    return data[:end], data[end:]


def _data_of_first(events: bytes) -> bytes:
    return next((line[5:] for line in events.splitlines() if line.startswith(b"data:")), b"")
