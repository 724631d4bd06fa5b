"""A trace holds together whatever becomes of the machine's clock meanwhile."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llmux.server._happenings import Entry, Outcome, RequestAdmitted, RequestFinished, RequestQueued, WakeDone
from llmux.server._model import WakeKind
from llmux.server._trace_context import Arrival
from llmux.server.tracing import _spans
from llmux.server.tracing._spans import Spans

OF = {"request": "1", "model": "m", "path": "/v1/chat/completions"}
ARRIVAL = Arrival("1", "id", "POST", OF["path"], "http", {})


@pytest.fixture
def clock(monkeypatch):
    """Give the clocks that spans are told the time by: `wall` is that which can be set, `monotonic` runs."""
    made = SimpleNamespace(wall=1e9, ran=100.0)
    made.time_ns = lambda: int(made.wall * 1e9)
    made.monotonic_ns = lambda: int(made.ran * 1e9)
    made.monotonic = lambda: made.ran
    monkeypatch.setattr(_spans, "time", made)
    return made


@pytest.fixture
def sent():
    return InMemorySpanExporter()


@pytest.fixture
def spans(sent):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(sent))
    return Spans(provider.get_tracer("test"))


@pytest.mark.parametrize("jump", [-3600.0, 0.0, 3600.0])
def test_a_clock_that_is_set_neither_shortens_nor_lengthens_a_span(spans, sent, clock, jump):
    happenings = (
        RequestQueued(**OF),
        WakeDone(
            model="m",
            replica="m",
            wake=WakeKind.WARM,
            seconds=0.5,
            phases={"wake": 0.25},
            phases_begun={"wake": 0.125},
        ),
        RequestAdmitted(**OF, replica="m", queued=1.0, wake="warm"),
        RequestFinished(
            **OF, method="POST", status=200, outcome=Outcome.ANSWERED, queued=1.0, first_byte=2.5, seconds=3.0
        ),
    )
    spans.begin(ARRIVAL)
    for number, happening in enumerate(happenings):
        spans.take(Entry(number, clock.wall, clock.ran, happening))
        clock.ran += 1.0
        clock.wall += 1.0 + jump
    (root,) = (each for each in sent.get_finished_spans() if each.name.startswith("POST"))
    told = {
        each.name: each
        for each in sent.get_finished_spans()
        if each.context.trace_id == root.context.trace_id
    }
    assert {
        name: tuple((at - root.start_time) / 1e9 for at in (each.start_time, each.end_time))
        for name, each in told.items()
    } == {
        root.name: (0.0, 3.0),
        "wait": (0.0, 2.0),
        "wake": (0.5, 1.0),
        "wake.wake": (0.625, 0.875),
        "proxy": (2.0, 3.0),
    }
    assert [(each.timestamp - root.start_time) / 1e9 for each in told["proxy"].events] == [2.5]


def test_a_refused_request_lasts_as_long_as_it_did(spans, sent, clock):
    began = clock.ran
    clock.ran += 0.5
    clock.wall -= 60.0
    spans.refused(ARRIVAL, began, 401, "unauthorized")
    (span,) = sent.get_finished_spans()
    assert span.end_time - span.start_time == 0.5e9
