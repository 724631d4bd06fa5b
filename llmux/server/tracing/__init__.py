"""OpenTelemetry traces of requests, by the extra `otel`.

await attach(app, settings.tracing)       requests of `app` are traced from now on, where that is configured

Without the extra nothing here is imported that needs it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from llmux.server._trace_context import TRACER
from llmux.server.config import TracingConfig
from llmux.server.errors import NodeUnfit

if TYPE_CHECKING:
    from llmux.server.tracing._running import Running

__all__ = ["attach"]


async def attach(app: web.Application, tracing: TracingConfig) -> None:
    """Trace `app`'s requests if that is wanted. Raises NodeUnfit where it cannot be."""
    if tracing.enabled:
        running = await asyncio.to_thread(_start)
        app[TRACER] = running.spans
        app.cleanup_ctx.append(running.while_served)
        app.middlewares.insert(0, running.refusals)


def _start() -> Running:
    try:
        from llmux.server.tracing._running import Running  # noqa: PLC0415 - what it imports may be missing
    except ImportError as error:
        why = f"tracing.enabled: a package of the extra `otel` is missing: {error}"
        raise NodeUnfit(
            (why,),
            hint="Install llmux with its extra: pip install '.[otel]' in a checkout; or leave tracing.enabled out",
        ) from error
    try:
        return Running.start()
    except ValueError as error:
        why = f"tracing.enabled: a variable of OpenTelemetry's (OTEL_...) says what cannot be: {error}"
        raise NodeUnfit((why,)) from error
