"""OpenTelemetry's SDK as its standard variables say (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, ...).

Spans are sent by a thread of the SDK's own. Where they do not reach the collector requests go on as without them, and the
log says so once, and once more when they do.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Sequence
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from llmux.server._printable import printable

log = logging.getLogger(__name__)

_LONGEST_REASON = 300


def provider() -> TracerProvider:
    """Return what makes and sends spans. Raises ValueError where a variable says what cannot be."""
    made = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(TellingExporter(OTLPSpanExporter())))
    return made


async def close(made: TracerProvider, seconds: float) -> None:
    """Send what has not been sent, for so many seconds at most."""
    # A thread that llmux's end need not wait for: an exporter may be in the midst of trying.
    closing = threading.Thread(target=made.shutdown, name="llmux-traces", daemon=True)
    closing.start()
    await asyncio.to_thread(closing.join, seconds)
    if closing.is_alive():
        log.warning("the last traces have not been sent within %g s, and are given up", seconds)


def _resource() -> Resource:
    """Return what all spans are of; the variables have the last word."""
    ours = Resource({"service.name": "llmux", "service.version": version("llmux")})
    found = Resource.create()
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    return ours.merge(found) if named else found.merge(ours)


class TellingExporter(SpanExporter):
    """Another exporter whose failures are one line in the log, and none of its own."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False
        self._words = _Words()
        theirs = logging.getLogger("opentelemetry.exporter")
        theirs.addHandler(self._words)
        theirs.propagate = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; say once that they do not arrive."""
        self._words.first = ""
        result = self._exporter.export(spans)
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            why = printable(self._words.first)[:_LONGEST_REASON] or "no reason is known"
            log.warning("traces do not reach the collector, which is said once: %s", why)
        elif self._failing and not failing:
            log.info("traces reach the collector again")
        self._failing = failing
        return result

    def shutdown(self) -> None:
        """Have it try no more."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Have it send what it holds."""
        return self._exporter.force_flush(timeout_millis)


class _Words(logging.Handler):
    """Keeps the first that is said of a try: what comes after it is only that it is tried again, and given up."""

    first = ""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.first = self.first or record.getMessage()
