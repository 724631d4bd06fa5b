"""Spans on their way to a collector that is away, that comes back, and that takes its time."""

from __future__ import annotations

import asyncio
import logging
import threading

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)

from llmux.server.tracing._export import TellingExporter, close, provider


class Away(SpanExporter):
    """An exporter that fails while it is told to, as OTLP's does."""

    away = True

    def export(self, _spans):
        if self.away:
            log = logging.getLogger("opentelemetry.exporter.any")
            log.warning("Transient error %s, retrying", "refused")
            log.error("Failed to export")
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS


class Stuck(SpanExporter):
    """An exporter that never comes to an end."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def export(self, _spans):
        self.released.wait()
        return SpanExportResult.SUCCESS


def test_a_collector_that_is_away_is_told_of_once_and_so_is_its_return(caplog):
    caplog.set_level(logging.INFO)
    exporter = Away()
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(TellingExporter(exporter)))
    tracer = made.get_tracer("test")
    for _ in range(3):
        tracer.start_span("one").end()
    exporter.away = False
    for _ in range(2):
        tracer.start_span("one").end()
    made.shutdown()
    assert [each.getMessage() for each in caplog.records if each.name.startswith("llmux")] == [
        "traces do not reach the collector, which is said once: Transient error refused, retrying",
        "traces reach the collector again",
    ]


async def test_the_end_waits_for_a_slow_collector_no_longer_than_it_may(caplog):
    stuck = Stuck()
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(stuck))
    made.get_tracer("test").start_span("one").end()
    await close(made, 0.2)  # the collector is stuck for good
    assert "given up" in caplog.text
    stuck.released.set()


async def test_what_is_not_yet_sent_at_the_end_is_sent_then(collector, monkeypatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    made = await asyncio.to_thread(provider)
    made.get_tracer("test").start_span("the last").end()
    await close(made, 5)
    assert [each.name for each in collector.spans] == ["the last"]


async def test_it_is_compressed_and_marked_as_the_variables_say(collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    made = await asyncio.to_thread(provider)
    made.get_tracer("test").start_span("small").end()
    await close(made, 5)
    assert [each.name for each in collector.spans] == ["small"]


async def test_a_collector_that_refuses_is_no_reason_to_fail(collector, caplog):
    collector.status = 400
    made = await asyncio.to_thread(provider)
    made.get_tracer("test").start_span("lost").end()
    await close(made, 5)
    assert "traces do not reach the collector" in caplog.text
    assert "400" in caplog.text
