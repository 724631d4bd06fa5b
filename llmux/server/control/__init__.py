"""The control API: how everything is, putting to sleep, waking, reloading. docs/control.md has every call.

Each module has the calls of one theme; `_form.py` says what a call is, and `_openapi.py` makes /openapi.json of them all.
Whatever is to be done is done through the driver and its scheduler, as for a request.
"""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus

from aiohttp import web

from llmux.server._checkpoints import CheckpointStore
from llmux.server._gate import ask_nothing_yet
from llmux.server._log_ring import LogRing
from llmux.server._web import DRIVER, RELOADER
from llmux.server.control import (
    _checkpoints,
    _events,
    _logs,
    _looking,
    _named,
    _openapi,
    _operations,
    _ruling,
    _status,
    _switching,
    _whoami,
)
from llmux.server.control._checkpoints import PACE, READING
from llmux.server.control._form import Call, Media
from llmux.server.control._jobs import Jobs
from llmux.server.control._logs import RING
from llmux.server.control._operations import JOBS, STORE
from llmux.server.control._reckoning import Pace
from llmux.server.control._streaming import FEEDS, Feeds

__all__ = ["add_to", "calls"]

_OPENAPI = web.AppKey("openapi", str)


def add_to(app: web.Application) -> None:
    """Have the application answer every call; its driver and its reloader, where it has one, are there already.

    To be called last: what is streamed ends after all that is told of at the end.
    """
    app[JOBS] = Jobs(app[DRIVER].spawn)
    app[FEEDS] = Feeds()
    app[READING] = asyncio.Semaphore()
    app[PACE] = Pace()
    app[RING] = LogRing(next((each.formatter for each in logging.getLogger().handlers), None))
    app.cleanup_ctx.append(_logs.keep_own_log)
    app.on_shutdown.append(_end_streams)
    if RELOADER in app:
        app[STORE] = CheckpointStore(app[RELOADER].settings.checkpoint.images_dir)
    served = calls(reloadable=RELOADER in app)
    app[_OPENAPI] = json.dumps(_openapi.document((*served, *_named.CALLS), _whoami.VERSION))
    app.add_routes(
        web.route(call.method, call.path, call.handle, expect_handler=ask_nothing_yet) for call in served
    )


async def _end_streams(app: web.Application) -> None:
    app[FEEDS].end()


def calls(*, reloadable: bool) -> tuple[Call, ...]:
    """Return every call; what needs a configuration's file only where there is one."""
    with_a_file = (_status.RELOAD, *_ruling.ADJUSTING) if reloadable else ()
    return (
        *_whoami.CALLS,
        _status.STATUS,
        *_looking.CALLS,
        *_switching.CALLS,
        *_checkpoints.CALLS,
        *_events.CALLS,
        *_logs.CALLS,
        *_ruling.CALLS,
        *_operations.CALLS,
        *with_a_file,
        _DOCUMENT,
    )


async def document(request: web.Request) -> web.Response:
    """Describe the API as OpenAPI does."""
    return web.Response(text=request.app[_OPENAPI], content_type="application/json")


_DOCUMENT = Call(
    "GET",
    "/openapi.json",
    document,
    {HTTPStatus.OK: Media("application/json", "This document.", {"type": "object"})},
)
