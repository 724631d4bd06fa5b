"""Answers without an end: bytes go to a reader as they come, until he goes, falls behind, may see no more, or llmux ends.

A reader that takes nothing holds nobody up: what waits for him is bounded, and whoever leaves the bytes lying is cut off.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress

import aiohttp
from aiohttp import web

from llmux.server._gate import may_still

WAITING = 1000
"""Pieces that may wait for a reader."""
HEARTBEAT = 15.0
"""Seconds without a piece after which a sign of life is sent, where the reader may still see what comes."""
STALLED = 30.0
"""Seconds in which a reader takes something, or is cut off."""


class Feed:
    """Pieces on their way to one reader."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._at_once = 0
        """How many of them were there from the beginning."""
        self._moved = asyncio.Event()
        self._ended = False
        self.overrun = False
        """The reader has fallen behind: he is told, and sees no more."""

    @property
    def waits(self) -> bool:
        """Say whether something waits for the reader."""
        return bool(self._pieces)

    def begin(self, pieces: Iterable[bytes]) -> None:
        """Let these be the first, however many: what is kept for all is not what a reader falls behind with."""
        self._pieces.extend(pieces)
        self._at_once = len(self._pieces)

    def put(self, piece: bytes) -> None:
        """Let a piece follow. Never waits."""
        if len(self._pieces) - self._at_once >= WAITING:
            self.overrun = True
            self.end()
        elif not self._ended:
            self._pieces.append(piece)
            self._moved.set()

    def end(self) -> None:
        """Let nothing follow."""
        self._ended = True
        self._moved.set()

    async def pieces(self, alive: bytes) -> AsyncIterator[bytes]:
        """Give each piece as it comes, and `alive` where none has come for a while."""
        while self._pieces or not self._ended:
            if self._pieces:
                self._at_once = max(0, self._at_once - 1)
                yield self._pieces.popleft()
                continue
            self._moved.clear()
            try:
                async with asyncio.timeout(HEARTBEAT):
                    await self._moved.wait()
            except TimeoutError:
                yield alive


class Feeds:
    """Every reader's, so that llmux does not wait for them when it ends."""

    def __init__(self) -> None:
        self._feeds: set[Feed] = set()

    def open(self) -> Feed:
        """Return a new one."""
        feed = Feed()
        self._feeds.add(feed)
        return feed

    def close(self, feed: Feed) -> None:
        """Forget one whose reader has gone."""
        self._feeds.discard(feed)

    def end(self) -> None:
        """End them all."""
        for feed in self._feeds:
            feed.end()


FEEDS = web.AppKey("feeds", Feeds)


async def stream(
    request: web.Request,
    feed: Feed,
    headers: Mapping[str, str],
    alive: bytes,
    last: Callable[[], bytes],
) -> web.StreamResponse:
    """Send what comes through a feed; `alive` shows that there is nothing to send, and `last()` follows all."""
    response = web.StreamResponse(headers=headers)
    with suppress(aiohttp.ClientConnectionResetError):
        await response.prepare(request)
        try:
            async for piece in feed.pieces(alive):
                if not may_still(request):
                    break
                await _write(response, piece)
            else:
                await _write(response, last())
            await response.write_eof()
        except TimeoutError:
            if request.transport:
                request.transport.abort()
    return response


async def _write(response: web.StreamResponse, piece: bytes) -> None:
    async with asyncio.timeout(STALLED):
        if piece:
            await response.write(piece)
