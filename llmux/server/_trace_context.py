"""A request's place in a trace, in and out: W3C's `traceparent` and `tracestate`. What traces it, where that is on, is `tracing/`.

Where it is off, both headers travel on as all others do. Source: W3C Trace Context, sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web
from multidict import CIMultiDict

from llmux.server._journey import Journey
from llmux.server._request_log import id_of

HEADERS = ("traceparent", "tracestate")


@dataclass(frozen=True)
class Arrival:
    """A request as it has come."""

    request: str
    """Its handle."""
    request_id: str
    method: str
    path: str
    scheme: str
    context: Mapping[str, str]
    """Its client's headers of these."""


class Tracer(Protocol):
    """Makes traces of requests."""

    def begin(self, arrival: Arrival) -> None:
        """Begin a request's trace, or its part of its client's."""

    def passed_on(self, request: str) -> Mapping[str, str]:
        """Return the headers for its engine."""


TRACER = web.AppKey("tracer", Tracer)


def begin(request: web.Request, journey: Journey) -> None:
    """Begin to trace a request that begins its journey."""
    if tracer := request.app.get(TRACER):
        tracer.begin(arrival_of(request, journey.id))
        journey.traced = True


def arrival_of(request: web.Request, handle: str) -> Arrival:
    """Return a request as it has come."""
    context = {name: ",".join(request.headers.getall(name, ())) for name in HEADERS}
    told = {name: value for name, value in context.items() if value}
    return Arrival(handle, id_of(request), request.method, request.path, request.scheme, told)


def pass_on(request: web.Request, journey: Journey, headers: CIMultiDict[str]) -> None:
    """Have an engine's part of the trace be one of llmux's, not beside it."""
    if journey.traced:
        for name in HEADERS:
            headers.popall(name, None)
        headers.update(request.app[TRACER].passed_on(journey.id))
