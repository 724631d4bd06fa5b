"""From what happens to spans: a request's wait, the moves that it waited for, and its way through an engine, as one trace.

The moves of replicas are traces of their own, for many requests may wait for one; each of these requests has a copy of
it in its trace, linked to the first: so a trace tells by itself why its request was slow, whichever traces are sampled.

Names of attributes are OpenTelemetry's semantic conventions for HTTP and for generative AI; those of `llmux.` are ours.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from llmux.server._happenings import (
    OF_REQUESTS,
    Entry,
    Outcome,
    RequestAdmitted,
    RequestFinished,
    RequestQueued,
)
from llmux.server._request_log import CLIENT_GONE
from llmux.server._trace_context import Arrival
from llmux.server.metrics._paths import group_of
from llmux.server.tracing._moves import KEPT, Move, Moves

_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_OPERATIONS = {
    "chat/completions": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "messages": "chat",
    "responses": "chat",
}
"""gen_ai.operation.name, where the conventions have one."""
_MODEL = "gen_ai.request.model"
_SERVER_ERROR = 500
_W3C = TraceContextTextMapPropagator()


@dataclass(frozen=True)
class _Epoch:
    """What the monotonic clock's zero is by the machine's clock, in nanoseconds since the epoch.

    One for a whole trace: the machine's clock may be set meanwhile, and nothing ends before it has begun.
    """

    at: int

    @classmethod
    def now(cls) -> _Epoch:
        """Return it as the clocks are."""
        return cls(time.time_ns() - time.monotonic_ns())

    def nanoseconds(self, monotonic: float) -> int:
        """Return a time of the monotonic clock in nanoseconds since the epoch."""
        return self.at + int(monotonic * 1e9)


@dataclass
class _Request:
    """One that is not over."""

    root: Span
    context: Context
    epoch: _Epoch
    waiting: Span | None = None
    waiting_since: float = 0.0
    proxying: Span | None = None

    def end_waiting(self, at: int, why: str) -> None:
        """End its wait, where it waits; `why` is what has made it fail."""
        if self.waiting:
            _end(self.waiting, at, why)
            self.waiting = None

    def end_proxying(self, at: int, why: str) -> None:
        """End its way through an engine, where it is on one."""
        if self.proxying:
            _end(self.proxying, at, why)
            self.proxying = None


def _end(span: Span, at: int, why: str) -> None:
    if why:
        span.set_attribute("error.type", why)
        span.set_status(Status(StatusCode.ERROR, why))
    span.end(at)


class Spans:
    """All requests' and all moves'; `take` subscribes to the bus."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._requests: dict[str, _Request] = {}
        self._moves = Moves()
        self._firsts: dict[int, SpanContext] = {}
        """The latest moves' own spans, by the moves' numbers."""

    def begin(self, arrival: Arrival) -> None:
        """Begin a request's span, under its client's where it has one."""
        epoch = _Epoch.now()
        root = self._root(arrival, epoch.nanoseconds(time.monotonic()))
        self._requests[arrival.request] = _Request(root, _inside(root), epoch)

    def refused(self, arrival: Arrival, began: float, status: int, code: str) -> None:
        """Draw a request that nobody was let in with, which began at this time of the monotonic clock."""
        epoch = _Epoch.now()
        root = self._root(arrival, epoch.nanoseconds(began))
        root.set_attributes(
            {
                "llmux.outcome": Outcome.REFUSED.value,
                "http.response.status_code": status,
                "error.type": code,
            }
        )
        root.end(epoch.nanoseconds(time.monotonic()))

    def _root(self, arrival: Arrival, began: int) -> Span:
        method = arrival.method if arrival.method in _METHODS else "_OTHER"
        group = group_of(arrival.path)
        facts: dict[str, AttributeValue] = {
            "http.request.method": method,
            "url.path": arrival.path,
            "url.scheme": arrival.scheme,
            "llmux.request_id": arrival.request_id,
        }
        if operation := _OPERATIONS.get(group):
            facts["gen_ai.operation.name"] = operation
        name = f"{'HTTP' if method == '_OTHER' else method} {group}"
        parent = _W3C.extract(arrival.context, Context())
        return self._tracer.start_span(name, parent, SpanKind.SERVER, facts, start_time=began)

    def passed_on(self, request: str) -> Mapping[str, str]:
        """Return the headers by which an engine's spans come under that of the request's way through it."""
        headers: dict[str, str] = {}
        if known := self._requests.get(request):
            _W3C.inject(headers, _inside(known.proxying or known.root))
        return headers

    def take(self, entry: Entry) -> None:
        """Take one entry of the bus."""
        happening = entry.happening
        if not isinstance(happening, OF_REQUESTS):
            if move := self._moves.take(entry):
                self._moved(move)
        elif known := self._requests.get(happening.request):
            match happening:
                case RequestQueued():
                    self._queued(known, happening, entry)
                case RequestAdmitted():
                    self._admitted(known, happening, entry)
                case RequestFinished():
                    self._finished(known, happening, entry)
                case _:
                    assert_never(happening)

    # ---- requests ----

    def _queued(self, known: _Request, queued: RequestQueued, entry: Entry) -> None:
        now = known.epoch.nanoseconds(entry.monotonic)
        known.end_proxying(now, queued.why)
        known.root.set_attribute(_MODEL, queued.model)
        known.waiting = self._tracer.start_span(
            "wait", known.context, attributes={_MODEL: queued.model}, start_time=now
        )
        known.waiting_since = entry.monotonic

    def _admitted(self, known: _Request, admitted: RequestAdmitted, entry: Entry) -> None:
        facts = {_MODEL: admitted.model, "llmux.replica": admitted.replica, "llmux.wake": admitted.wake}
        self._waited(known, admitted.model, admitted.replica, entry)
        now = known.epoch.nanoseconds(entry.monotonic)
        known.proxying = self._tracer.start_span(
            "proxy", known.context, SpanKind.CLIENT, facts, start_time=now
        )
        known.root.set_attributes(facts)

    def _finished(self, known: _Request, finished: RequestFinished, entry: Entry) -> None:
        del self._requests[finished.request]
        now = known.epoch.nanoseconds(entry.monotonic)
        why = finished.code if _is_failure(finished) else ""
        if finished.first_byte is not None and known.proxying:
            at = entry.monotonic - finished.seconds + finished.first_byte
            known.proxying.add_event("first_byte", timestamp=known.epoch.nanoseconds(at))
        self._waited(known, finished.model, "", entry, why)
        known.end_proxying(now, why)
        known.root.set_attributes(_of_end(finished))
        if why or finished.status >= _SERVER_ERROR:
            known.root.set_status(Status(StatusCode.ERROR, why))
        known.root.end(now)

    def _waited(self, known: _Request, model: str, replica: str, entry: Entry, why: str = "") -> None:
        """End a request's wait, with what it has waited for."""
        if known.waiting is None:
            return
        context = _inside(known.waiting)
        for move in self._moves.waited_for(model, replica, known.waiting_since, entry.monotonic):
            self._draw(move, context, known.epoch, self._firsts.get(move.number))
        known.end_waiting(known.epoch.nanoseconds(entry.monotonic), why)

    # ---- moves ----

    def _moved(self, move: Move) -> None:
        """Draw a move as a trace of its own, which those that have waited for it link to."""
        self._firsts[move.number] = self._draw(move, Context(), _Epoch.now())
        self._firsts.pop(move.number - KEPT, None)

    def _draw(
        self, move: Move, context: Context, epoch: _Epoch, first: SpanContext | None = None
    ) -> SpanContext:
        """Draw a move and its phases; `first` is another drawing of the same."""
        facts: dict[str, AttributeValue] = {
            _MODEL: move.model,
            "llmux.replica": move.replica,
            f"llmux.{move.kind}": move.how,
            **{f"llmux.{name}.seconds": seconds for name, seconds in move.amounts.items()},
        }
        span = self._tracer.start_span(
            move.kind,
            context,
            attributes=facts,
            links=(Link(first),) if first else (),
            start_time=epoch.nanoseconds(move.began),
        )
        for phase in move.phases:
            began, ended = epoch.nanoseconds(phase.began), epoch.nanoseconds(phase.ended)
            name = f"{move.kind}.{phase.name}"
            self._tracer.start_span(name, _inside(span), start_time=began).end(ended)
        if move.problem:
            span.set_attribute("error.type", move.problem)
            span.set_status(Status(StatusCode.ERROR, move.problem))
        span.end(epoch.nanoseconds(move.ended))
        return span.get_span_context()


def _of_end(finished: RequestFinished) -> dict[str, AttributeValue]:
    """Return what is known of a request once it is over. Of the status only where one was sent: 499 is nobody's answer."""
    facts: dict[str, AttributeValue] = {"llmux.outcome": finished.outcome.value}
    if finished.status != CLIENT_GONE:
        facts["http.response.status_code"] = finished.status
    if finished.code or finished.status >= _SERVER_ERROR:
        facts["error.type"] = finished.code or str(finished.status)
    if finished.tokens:
        facts["gen_ai.usage.input_tokens"] = finished.tokens.prompt
        facts["gen_ai.usage.output_tokens"] = finished.tokens.completion
    return facts


def _is_failure(finished: RequestFinished) -> bool:
    """Say whether llmux or an engine failed; by the conventions a server's span is no error where its client was wrong."""
    return finished.outcome is Outcome.BROKEN_OFF or finished.status >= _SERVER_ERROR


def _inside(span: Span) -> Context:
    return set_span_in_context(span, Context())
