"""The engines' own /metrics: asked of those that are awake, all at once, and none for long.

An engine that sleeps is not asked; one that hangs, ends or falls asleep meanwhile costs `LIMIT` at most. A dump waits for
connections to end (`_life.py`), for longer than that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from yarl import URL

from llmux.server._hands import Life
from llmux.server._model import Draining, Running
from llmux.server._record import Replica

LIMIT = 1.0
"""Seconds for an engine's answer."""
LARGEST = 2 << 20
"""Bytes of it: more is not read, for parsing it would keep llmux busy."""
FRESH = 1.0
"""Seconds in which an answer serves all who ask: many who look do not make much work for the engines."""

_PATH = URL("/metrics")
_HEADERS = {"Accept": "text/plain;version=0.0.4"}


@dataclass(frozen=True)
class Scraped:
    """What one engine has answered: `text` is None where it did not in time, or with an error of its own."""

    model: str
    replica: str
    text: str | None


class Engines:
    """Asks them."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self._latest: tuple[Scraped, ...] = ()
        self._at = float("-inf")

    async def scraped(self, replicas: Iterable[Replica]) -> tuple[Scraped, ...]:
        """Return the answer of each engine that is awake and has /metrics."""
        replicas = tuple(replicas)
        async with self._one_at_a_time:
            if time.monotonic() - self._at >= FRESH:
                answers = await asyncio.gather(*(_ask(each, life) for each, life in _awake(replicas)))
                self._latest = tuple(answer for answer in answers if answer)
                self._at = time.monotonic()
        awake = {replica.name for replica, _ in _awake(replicas)}
        return tuple(answer for answer in self._latest if answer.replica in awake)


def _awake(replicas: Iterable[Replica]) -> Iterable[tuple[Replica, Life]]:
    with_engines = ((replica, replica.life) for replica in replicas)
    # One without a process is a server elsewhere: its figures are its own, and who else's it would tell.
    return ((replica, life) for replica, life in with_engines if life and life.pid and _serves(replica, life))


def _serves(replica: Replica, life: Life) -> bool:
    return isinstance(replica.state, Running | Draining) and replica.life is life and not life.session.closed


async def _ask(replica: Replica, life: Life) -> Scraped | None:
    """Return None where the engine has no /metrics, or does not serve any more."""
    try:
        async with (
            asyncio.timeout(LIMIT),
            life.session.get(life.url.join(_PATH), headers=_HEADERS, allow_redirects=False) as response,
        ):
            if HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return None
            text = await _read(response) if response.status == HTTPStatus.OK else None
    except (aiohttp.ClientError, OSError, RuntimeError):  # a timeout too; a session that was closed meanwhile
        text = None
    return Scraped(replica.model, replica.name, text) if text or _serves(replica, life) else None


async def _read(response: aiohttp.ClientResponse) -> str | None:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST:
            return None
    return body.decode("utf-8", "replace")
