"""An llmux with fake engines whose traces go to a real collector, by OpenTelemetry's own SDK."""

from __future__ import annotations

from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web

from llmux.server import _app, tracing
from llmux.server.config import TracingConfig
from otlp import collecting


@pytest.fixture
async def collector(monkeypatch):
    """Give a collector to which this process's traces go, soon after they are made."""
    async with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield collector


class Engine:
    """An engine that keeps the headers of what it is asked."""

    def __init__(self) -> None:
        self.headers = []
        self.failures = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.headers.append(request.headers.copy())
        if self.failures:
            self.failures -= 1
            request.transport.close()
        return web.json_response({"usage": {"prompt_tokens": 3, "completion_tokens": 5}})


@pytest.fixture
async def engine(serve):
    """Give an engine, with its URL."""
    made = Engine()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    made.url = await serve(app)
    return made


@pytest.fixture
async def traced(serve, make_driver):
    """Give a function that serves models with these hands, traced, and returns a session."""
    async with AsyncExitStack() as stack:

        async def begun(hands, gate=None, **rules):
            app = _app.build(make_driver(hands, **rules), gate=gate)
            await tracing.attach(app, TracingConfig(enabled=True))
            return await stack.enter_async_context(aiohttp.ClientSession(await serve(app)))

        yield begun
