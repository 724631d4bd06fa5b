"""Traces as long as an application lives; the first module here that needs the extra `otel`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from opentelemetry.sdk.trace import TracerProvider

from llmux.server._journey import has_journey
from llmux.server._proxy import forward
from llmux.server._request_log import handle_of
from llmux.server._trace_context import arrival_of
from llmux.server._web import DRIVER, PROBLEM
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

    @property
    def refusals(self) -> Middleware:
        """Return the middleware, around all others, that traces what is refused before it is known whom it is for."""

        @web.middleware
        async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
            began = time.monotonic()
            response = await handler(request)
            problem = response.get(PROBLEM)
            if problem and request.match_info.handler is forward and not has_journey(request):
                arrival = arrival_of(request, handle_of(request))
                self.spans.refused(arrival, began, response.status, problem.code)
            return response

        return traced

    async def while_served(self, app: web.Application) -> AsyncIterator[None]:
        """Take what happens until all requests are over; then send the rest."""
        with app[DRIVER].bus.subscribed(self.spans.take):
            yield
        await close(self.provider, _LAST_WORDS)
