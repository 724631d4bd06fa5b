"""Traces as text: one JSON object per line, read strictly, with every bad line named together. Pure.

{"at": 0.25, "model": "llama", "tokens": 180}
{"at": 1.5, "model": "mistral", "seconds": 2.2}
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from llmux.server.simulate.scenario import Request

MOST_FAULTS = 20
"""Bad lines that are named; of more it is said how many there are."""
_FIELDS = ("at", "model", "seconds", "tokens")
_LONGEST = 1e9
"""Seconds; no trace is as long, and no answer."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a line; both numbers count from 1."""

    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


class _Bad(ValueError):
    def __init__(self, column: int, message: str) -> None:
        super().__init__(message)
        self.column, self.message = column, message


def parse(lines: Iterable[str]) -> tuple[tuple[Request, ...], tuple[Fault, ...]]:
    """Return the requests in the order of their times, and what is wrong with lines that are none."""
    return read(lines, _request)


def read(
    lines: Iterable[str], one: Callable[[str], Request | None]
) -> tuple[tuple[Request, ...], tuple[Fault, ...]]:
    """Read each line that is not blank with `one`, which returns None for a line to pass over."""
    requests: list[Request] = []
    faults: list[Fault] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            request = one(line.rstrip("\n"))
        except _Bad as bad:
            faults.append(Fault(number, bad.column, bad.message))
        else:
            requests.extend([request] if request else [])
    return tuple(sorted(requests, key=lambda request: request.at)), tuple(faults)


def written(requests: Sequence[Request]) -> str:
    """Return the trace as text."""
    return "".join(json.dumps(_as_data(request)) + "\n" for request in requests)


def bad(column: int, message: str) -> ValueError:
    """Return what a line's reader raises."""
    return _Bad(column, message)


def json_object(line: str) -> Mapping[str, object]:
    """Return the object that a line is. Raises what `bad` returns."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise _Bad(error.colno, f"it is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise _Bad(1, "it is nested too deep") from error
    if not isinstance(value, dict):
        raise _Bad(1, 'it is no object, such as {"at": 0.5, "model": "llama"}')
    return {str(name): inner for name, inner in value.items()}


def number(line: str, fields: Mapping[str, object], name: str) -> float | None:
    """Return a field that is a number of at least 0, or None where it is not given. Raises what `bad` returns."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST:
        raise _Bad(column_of(line, name), f"{name}: {value!r} is no number from 0 to {_LONGEST:.0e}")
    return float(value)


def column_of(line: str, name: str) -> int:
    """Return where in the line a field stands."""
    return max(0, line.find(f'"{name}"')) + 1


def _request(line: str) -> Request:
    fields = json_object(line)
    for name in fields:
        if name not in _FIELDS:
            raise _Bad(
                column_of(line, name), f"{name}: is no field of a trace; these are: {', '.join(_FIELDS)}"
            )
    at, seconds, tokens = (number(line, fields, name) for name in ("at", "seconds", "tokens"))
    model = fields.get("model")
    if at is None:
        raise _Bad(1, "at: is missing, the seconds since the trace began")
    if not isinstance(model, str) or not model:
        column = column_of(line, "model")
        raise _Bad(column, "model: is missing" if model is None else f"model: {model!r} is no name")
    if tokens is not None and not math.isclose(tokens, round(tokens)):
        raise _Bad(column_of(line, "tokens"), f"tokens: {tokens} is no whole number")
    return Request(at, model, seconds, None if tokens is None else round(tokens))


def _as_data(request: Request) -> dict[str, object]:
    data = {"at": request.at, "model": request.model, "seconds": request.seconds, "tokens": request.tokens}
    return {name: value for name, value in data.items() if value is not None}
