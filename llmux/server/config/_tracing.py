"""Traces: the section `tracing`."""

from __future__ import annotations

from llmux.server.config._types import Section


class TracingConfig(Section):
    """OpenTelemetry traces of requests. The rest is said by OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, ...)."""

    enabled: bool = False
    """Send a trace of each request to a collector, by OTLP over HTTP; needs llmux's extra `otel` (docs/tracing.md)."""
