"""Logs: the end of each engine's and of llmux's own, and what follows; how much llmux logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from llmux.server._control_errors import NoLog
from llmux.server._log_ring import LogRing
from llmux.server._log_tail import LogFile
from llmux.server._names import target_of
from llmux.server._web import DRIVER, RELOADER
from llmux.server.control._answers import LogLevel
from llmux.server.control._form import Call, Form, Media, Query, answer, body_of, query_of
from llmux.server.control._streaming import FEEDS, Feed, stream

RING = web.AppKey("log_ring", LogRing)

LOOK_EVERY = 0.25
"""Seconds between two looks for more."""
_HEADERS = {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",  # an engine may write what it likes
    "X-Accel-Buffering": "no",
}
_LEVELS: dict[Literal["debug", "info", "warning", "error"], int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class WhichLines(Query):
    """Which lines to send."""

    lines: Annotated[int, Field(ge=0, le=10_000)] = 100
    """So many from the end."""
    follow: Literal["true", "false"] = "false"
    """true: and those that follow, without end."""


class LevelRequest(Form):
    """How much is to be logged."""

    level: Literal["debug", "info", "warning", "error"]


async def own_log(request: web.Request) -> web.StreamResponse:
    """Send the end of llmux's own log, and what follows if wanted."""
    asked, ring = query_of(request, WhichLines), request.app[RING]
    lines, count = ring.last(asked.lines), ring.count

    async def more() -> bytes:
        nonlocal count
        new, count = ring.since(count)
        return _text(new)

    return await _send(request, asked, _text(lines), more)


async def engine_log(request: web.Request) -> web.StreamResponse:
    """Send the end of what a model's engine has written, or one of its replicas' by its name, and what follows if wanted."""
    asked = query_of(request, WhichLines)
    log = LogFile(_path_of(request, request.match_info["model"]))
    try:
        end = await asyncio.to_thread(log.tail, asked.lines)
    except OSError as error:
        hint = "It is made when the engine is first started"
        raise NoLog(str(log.path), error.strerror or str(error), hint=hint) from error

    async def more() -> bytes:
        return await asyncio.to_thread(log.more)

    return await _send(request, asked, end, more)


async def show_level(_request: web.Request) -> web.Response:
    """Say how much llmux logs."""
    return answer(_level())


async def set_level(request: web.Request) -> web.Response:
    """Have llmux log more or less from now on, until its next start."""
    asked = await body_of(request, LevelRequest)
    logging.getLogger().setLevel(_LEVELS[asked.level])
    return answer(_level())


def _level() -> LogLevel:
    effective = logging.getLogger().getEffectiveLevel()
    named = [name for name, level in _LEVELS.items() if level <= effective]
    return LogLevel(level=named[-1] if named else "debug")


async def _send(
    request: web.Request, asked: WhichLines, first: bytes, more: Callable[[], Awaitable[bytes]]
) -> web.StreamResponse:
    if asked.follow == "false":
        return web.Response(body=first, headers=_HEADERS)
    feed = request.app[FEEDS].open()
    feed.put(first)
    task = request.app[DRIVER].spawn(_follow(feed, more))
    try:
        return await stream(request, feed, _HEADERS, b"", lambda: b"")
    finally:
        task.cancel()
        request.app[FEEDS].close(feed)


async def _follow(feed: Feed, more: Callable[[], Awaitable[bytes]]) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY)
        # A reader who is slow reads on from where he was: no more than one piece is kept for him.
        if not feed.waits and (piece := await more()):
            feed.put(piece)


def _path_of(request: web.Request, name: str) -> Path:
    """Return the log of a replica or of a model's first one."""
    driver = request.app[DRIVER]
    replica = next((each for each in driver.replicas if each.name == name), None)
    replica = replica or target_of(driver.served, name).model.replicas[0]
    if RELOADER in request.app:
        return request.app[RELOADER].settings.log_dir / f"{replica.name}.log"
    if replica.life is None:
        raise NoLog(replica.name, "its engine does not run", hint="POST /control/wake starts it")
    return replica.life.log


def _text(lines: tuple[str, ...]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


async def keep_own_log(app: web.Application) -> AsyncIterator[None]:
    """Keep llmux's latest lines for as long as the application serves."""
    root = logging.getLogger()
    root.addHandler(app[RING])
    yield
    root.removeHandler(app[RING])


_LOG = {HTTPStatus.OK: Media("text/plain", "Lines.")}
CALLS = (
    Call("GET", "/control/logs", own_log, _LOG, query=WhichLines),
    Call("GET", "/control/logs/{model}", engine_log, _LOG, (HTTPStatus.NOT_FOUND,), query=WhichLines),
    Call("GET", "/control/log-level", show_level, {HTTPStatus.OK: LogLevel}),
    Call("PUT", "/control/log-level", set_level, {HTTPStatus.OK: LogLevel}, body=LevelRequest),
)
