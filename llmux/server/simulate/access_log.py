"""Traces out of access logs: lines of web servers, and JSON lines. Pure.

A line of the common or the combined format names its model in the query, `?model=llama`, or in the path,
`/models/llama/...`; a last number in it that has a decimal point is taken for the seconds that the answer took, as
`$request_time` writes it. A JSON line has its time, its model and, if need be, its seconds and tokens under the
names that people use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from urllib.parse import parse_qs, unquote, urlsplit

from llmux.server.simulate import trace
from llmux.server.simulate.scenario import Request
from llmux.server.simulate.trace import Fault

_LINE = re.compile(r'\S+ \S+ \S+ \[(?P<time>[^\]]*)\] "(?P<request>(?:[^"\\]|\\.)*)" \d{3} \S+(?P<rest>.*)')
_IN_PATH = re.compile(r"/models/(?P<model>[^/]+)")
_SECONDS = re.compile(r"(?<![\w.])(\d+\.\d+)\s*$")
_TIMES = ("at", "time", "timestamp", "ts", "@timestamp", "time_iso8601", "msec", "start_time")
_MODELS = ("model", "model_name", "requested_model")
_DURATIONS = ("seconds", "duration", "request_time", "duration_s", "latency")
_TOKENS = ("tokens", "completion_tokens", "output_tokens")


def parse(lines: Iterable[str]) -> tuple[tuple[Request, ...], tuple[Fault, ...]]:
    """Return the requests that name a model, from time 0 on, and what is wrong with lines that cannot be read."""
    requests, faults = trace.read(lines, _request)
    first = requests[0].at if requests else 0.0
    return tuple(replace(request, at=round(request.at - first, 6)) for request in requests), faults


def _request(line: str) -> Request | None:
    return _from_json(line) if line.lstrip().startswith("{") else _from_line(line)


def _from_line(line: str) -> Request | None:
    match = _LINE.match(line)
    if match is None:
        raise trace.bad(
            1, 'it is no line of the common log format: HOST - USER [TIME] "REQUEST" STATUS BYTES'
        )
    words = match["request"].split(" ")
    model = _model_of(words[1]) if len(words) > 1 else None
    if model is None:
        return None
    try:
        at = datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z").timestamp()
    except ValueError as error:
        raise trace.bad(
            match.start("time") + 1, f"{match['time']!r} is no time such as 10/Oct/2025:13:55:36 +0000"
        ) from error
    seconds = _SECONDS.search(match["rest"])
    return Request(at, model, float(seconds[1]) if seconds else None)


def _model_of(target: str) -> str | None:
    parts = urlsplit(target)
    asked = parse_qs(parts.query).get("model")
    if asked:
        return asked[0]
    found = _IN_PATH.search(parts.path)
    return unquote(found["model"]) if found else None


def _from_json(line: str) -> Request | None:
    fields = trace.json_object(line)
    model = _first(fields, _MODELS)
    if model is None:
        return None
    if not isinstance(fields[model], str) or not fields[model]:
        raise trace.bad(trace.column_of(line, model), f"{model}: {fields[model]!r} is no name")
    durations, tokens = _first(fields, _DURATIONS), _first(fields, _TOKENS)
    count = trace.number(line, fields, tokens) if tokens else None
    return Request(
        _time(line, fields),
        str(fields[model]),
        trace.number(line, fields, durations) if durations else None,
        None if count is None else round(count),
    )


def _first(fields: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if fields.get(name) is not None), None)


def _time(line: str, fields: Mapping[str, object]) -> float:
    name = _first(fields, _TIMES)
    if name is None:
        raise trace.bad(1, f"it has no time; a time's name is one of {', '.join(_TIMES)}")
    value = fields[name]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError as error:
        raise trace.bad(
            trace.column_of(line, name),
            f"{name}: {value!r} is no time such as 2025-10-10T13:55:36Z, nor seconds",
        ) from error
