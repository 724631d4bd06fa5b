"""GET /metrics, on llmux's port and on one of its own."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Iterable
from functools import partial

from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, Metric, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from llmux.server._gate import ask_nothing_yet
from llmux.server._web import DRIVER
from llmux.server.errors import AddressTaken
from llmux.server.gpus import GPUS
from llmux.server.metrics import _catalogue as of
from llmux.server.metrics._counted import Counted
from llmux.server.metrics._engines import Engines, Scraped
from llmux.server.metrics._joined import joined, read
from llmux.server.metrics._looked_at import gauge, gauges
from llmux.server.metrics._of_gpus import gpu_gauges

log = logging.getLogger(__name__)


class Metrics:
    """All figures of one llmux."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._driver = app[DRIVER]
        self._registry = CollectorRegistry()
        self._counted = Counted()
        self._engines = Engines()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    async def observe(self, _app: web.Application) -> AsyncIterator[None]:
        """Count what happens, as long as the application lives."""
        with self._driver.bus.subscribed(self._counted.take):
            yield

    async def exposition(self) -> bytes:
        """Return everything in Prometheus's text format."""
        scraped = await self._engines.scraped(self._driver.replicas)
        self._counted.know(self._driver.models)
        now = (*self._counted.collect(), *gauges(self._driver), *await self._gpus(), *self._reloads())
        # Reads /proc, and may have much to parse.
        return await asyncio.to_thread(_exposition, self._registry, now, scraped)

    async def _gpus(self) -> tuple[Metric, ...]:
        gpus = self._app.get(GPUS)
        return tuple(gpu_gauges(self._driver, gpus, await gpus.seen())) if gpus else ()

    def _reloads(self) -> tuple[Metric, ...]:
        last, at = self._counted.reloaded, self._counted.reloaded_at
        refused = last is not None and last.problem is not None
        return (
            gauge(of.RELOADED, [((), float(not refused))]),
            gauge(of.RELOADED_AT, [] if at is None else [((), at)]),
        )


_METRICS = web.AppKey("metrics", Metrics)


def attach(app: web.Application) -> None:
    """Count what the application's driver does, and show it at /metrics."""
    app[_METRICS] = Metrics(app)
    app.router.add_get("/metrics", _show, expect_handler=ask_nothing_yet)
    app.cleanup_ctx.append(app[_METRICS].observe)


def listen(app: web.Application, host: str, port: int) -> None:
    """Have the same on a port of its own while the application lives; 0 is none. Its start raises AddressTaken."""
    if port:
        app.cleanup_ctx.append(partial(_listening, host, port))


async def _show(request: web.Request) -> web.Response:
    body = await request.app[_METRICS].exposition()
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


async def _listening(host: str, port: int, app: web.Application) -> AsyncIterator[None]:
    other = web.Application()
    other[_METRICS] = app[_METRICS]
    other.router.add_get("/metrics", _show)
    runner = web.AppRunner(other, access_log=None)
    await runner.setup()
    try:
        await _start(web.TCPSite(runner, host, port), host, port)
        yield
    finally:
        await runner.cleanup()


async def _start(site: web.TCPSite, host: str, port: int) -> None:
    try:
        await site.start()
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        hint = (
            "Stop what listens there, or change `metrics_port`"
            if taken
            else "Change `listen.metrics_host` or `metrics_port`"
        )
        raise AddressTaken(host, port, error.strerror or str(error), hint=hint) from error
    log.info("metrics on %s:%d", host, port)


class _Given(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _exposition(registry: CollectorRegistry, now: Iterable[Metric], scraped: Iterable[Scraped]) -> bytes:
    answers = [(each, read(each) if each.text is not None else None) for each in scraped]
    up = gauge(of.ENGINE_UP, (((each.model, each.replica), float(had is not None)) for each, had in answers))
    engines = (family for _, had in answers for family in had or ())
    return generate_latest(_Given(joined((*registry.collect(), *now, up, *engines))))
