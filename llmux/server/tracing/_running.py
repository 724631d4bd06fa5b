"""Traces as long as an application lives; the first module here that needs the extra `otel`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web
from opentelemetry.sdk.trace import TracerProvider

from llmux.server._web import DRIVER
from llmux.server.tracing._export import close, provider
from llmux.server.tracing._spans import Spans

_LAST_WORDS = 1.0
"""Seconds to send the last spans in, when llmux ends."""


@dataclass(frozen=True)
class Running:
    """What makes the spans, and what sends them."""

    spans: Spans
    provider: TracerProvider

    @classmethod
    def start(cls) -> Running:
        """Begin, by OpenTelemetry's variables. Raises ValueError where one says what cannot be."""
        made = provider()
        return cls(Spans(made.get_tracer("llmux")), made)

    async def while_served(self, app: web.Application) -> AsyncIterator[None]:
        """Take what happens until all requests are over; then send the rest."""
        with app[DRIVER].bus.subscribed(self.spans.take):
            yield
        await close(self.provider, _LAST_WORDS)
