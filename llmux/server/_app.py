"""The web application: its routes, and a driver for as long as it lives."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from functools import partial
from http import HTTPStatus

from aiohttp import web

from llmux.server import _page, _proxy, _request_log, control, metrics
from llmux.server._adapters import Adapters
from llmux.server._driver import Driver
from llmux.server._error_answers import errors_as_json
from llmux.server._gate import GATE, Gate, ask_nothing_yet, gate_keeping, mark_answer
from llmux.server._homes import Homes
from llmux.server._journey import observed
from llmux.server._reload import Reloader
from llmux.server._web import ADAPTERS, DRIVER, HOMES, RELOADER, STARTED

LARGEST_BODY = 256 << 20
"""Bytes of one request; images travel in bodies as text."""

BACK_AFTER = 10
"""Seconds after which a client that comes while llmux ends may find the next one."""


def build(
    driver: Driver,
    reloader: Reloader | None = None,
    gate: Gate | None = None,
    largest_body: int | None = None,
) -> web.Application:
    """Return the application that serves `driver`'s models, having opened it, and closes it in the end.

    `reloader` reloads its configuration, where it has one to reload; `gate` says who may do what, which without it is as
    without any keys.
    """
    app = web.Application(
        middlewares=[observed, errors_as_json, gate_keeping],
        client_max_size=largest_body or LARGEST_BODY,
    )
    app[DRIVER] = driver
    app[GATE] = gate or Gate()
    app[ADAPTERS] = Adapters()
    app[HOMES] = Homes()
    app[STARTED] = int(time.time())
    app.add_routes([web.get("/health", _health, expect_handler=ask_nothing_yet), *_proxy.routes()])
    _page.add_to(app)
    if reloader:
        app[RELOADER] = reloader
    metrics.attach(app)
    app.on_response_prepare.append(partial(_mark, driver))
    app.cleanup_ctx.append(_open_and_close)
    # Before the server waits for its open requests: those that are held or in flight end with their engines.
    app.on_shutdown.append(_close)
    control.add_to(app)
    return app


async def _health(request: web.Request) -> web.Response:
    """Say that llmux itself serves, or ends; /control/status tells of the models."""
    if request.app[DRIVER].stopping:
        return web.json_response({"status": "stopping"}, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return web.json_response({"status": "ok"})


async def _mark(driver: Driver, request: web.Request, response: web.StreamResponse) -> None:
    """Write into every answer's head what all have, and tell a client that is answered while llmux ends to come back over another connection."""
    _request_log.mark_answer(request, response)
    if driver.stopping:
        response.force_close()
        response.headers["Connection"] = "close"
        if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
            response.headers.setdefault("Retry-After", str(BACK_AFTER))
    mark_answer(request, response)


async def _open_and_close(app: web.Application) -> AsyncIterator[None]:
    await app[DRIVER].open()
    yield
    await app[DRIVER].close()


async def _close(app: web.Application) -> None:
    await app[DRIVER].close()
