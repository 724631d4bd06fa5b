"""Tells programs and web addresses of what happens: signed, tried again, and never more at a time than is allowed.

    hooks = await Hooks.of(settings.hooks)     reads the secrets; raises NodeUnfit
    hooks.start(bus, spawn)                    from here on, and of what the bus has kept
    await hooks.settle(seconds)                waits for what is on its way

Nobody waits for a hook: what a full queue does not take is left out, and the log says so. The log has no address and no secret: an
address may be a secret itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiohttp
import msgspec

from llmux.server import _secret_file
from llmux.server._bus import Bus
from llmux.server._effect_errors import EffectError
from llmux.server._happenings import OF_REQUESTS, Entry
from llmux.server._process import run
from llmux.server.config import HookConfig
from llmux.server.errors import NodeUnfit

log = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
"""Seconds before the second try; each further pause is twice as long."""
_LONGEST_PAUSE = 60.0
_AGAIN = frozenset({408, 425, 429, *range(500, 600)})
"""Statuses after which the same may be taken later; all others than 2xx say that it never will be."""

Spawn = Callable[[Coroutine[None, None, None]], object]


@dataclasses.dataclass(frozen=True)
class _Untold:
    """A try that came to nothing."""

    why: str
    again: bool


class Hooks:
    """All hooks of one llmux."""

    def __init__(self, hooks: Sequence[_Hook]) -> None:
        self._hooks = hooks

    @classmethod
    async def of(cls, configs: Iterable[HookConfig]) -> Hooks:
        """Make them, with their secrets. Raises NodeUnfit with every secret that cannot be read."""
        return await asyncio.to_thread(cls._read, tuple(configs))

    @classmethod
    def _read(cls, configs: Sequence[HookConfig]) -> Hooks:
        faults: list[str] = []
        hooks = [
            _Hook(f"hooks.{number}", config, _secret(number, config, faults))
            for number, config in enumerate(configs)
        ]
        if faults:
            raise NodeUnfit(tuple(faults))
        return cls(hooks)

    def start(self, bus: Bus, spawn: Spawn) -> None:
        """Tell of what has happened already, and of what will."""
        for hook in self._hooks:
            for entry in bus.since(0):
                hook.take(entry)
            spawn(hook.run(bus))

    async def settle(self, seconds: float) -> None:
        """Wait until nothing is on its way any more, so many seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for hook in self._hooks:
                    await hook.idle()


def _secret(number: int, config: HookConfig, faults: list[str]) -> bytes | None:
    if config.secret_file is None:
        return None
    field = f"hooks.{number}.secret_file"
    try:
        secret = _secret_file.read(config.secret_file).strip()
    except _secret_file.UnfitError as error:
        faults.append(f"{field}: {error}")
        return None
    if not secret:
        faults.append(f"{field}: {config.secret_file} is empty")
    return secret


class _Hook:
    """One of them: what waits for it, and who tells it."""

    def __init__(self, path: str, config: HookConfig, secret: bytes | None) -> None:
        self._path = path
        self._config = config
        self._secret = secret
        self._waiting: asyncio.Queue[Entry] = asyncio.Queue(config.max_waiting)
        self._left_out = 0

    def take(self, entry: Entry) -> None:
        """Have it told of this, unless it is not wanted or too many wait."""
        if not self._wants(entry):
            return
        try:
            self._waiting.put_nowait(entry)
        except asyncio.QueueFull:
            self._left_out += 1
            if self._left_out == 1:
                log.warning(
                    "%s: %d events wait already: further ones are left out",
                    self._path,
                    self._config.max_waiting,
                )
        else:
            if self._left_out:
                log.warning("%s: %d events were left out", self._path, self._left_out)
            self._left_out = 0

    def _wants(self, entry: Entry) -> bool:
        config, happening = self._config, entry.happening
        if config.models and getattr(happening, "model", None) not in config.models:
            return False
        if config.events:
            return entry.kind in config.events
        return not isinstance(happening, OF_REQUESTS)

    async def run(self, bus: Bus) -> None:
        """Tell it of all that it takes, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=self._config.timeout)
        with bus.subscribed(self.take):
            async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
                await asyncio.gather(*(self._work(session) for _ in range(self._config.concurrency)))

    async def idle(self) -> None:
        await self._waiting.join()

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while True:
            entry = await self._waiting.get()
            try:
                await self._tell(session, entry)
            finally:
                self._waiting.task_done()

    async def _tell(self, session: aiohttp.ClientSession, entry: Entry) -> None:
        """Try until it is told, or has been tried often enough."""
        kind, body, delivery = entry.kind, json.dumps(told(entry)), uuid.uuid4().hex
        pause = FIRST_PAUSE
        for attempt in range(1, self._config.attempts + 1):
            if self._config.url:
                failed = await self._post(session, self._config.url, kind, body.encode(), delivery)
            else:
                failed = await self._run(kind, body)
            if failed is None:
                return
            last = attempt == self._config.attempts or not failed.again
            log.log(
                logging.WARNING if last else logging.INFO,
                "%s: it was not told of %s %d (try %d%s): %s",
                self._path, kind, entry.id, attempt, ", the last" if last else "", failed.why,
            )  # fmt: skip
            if last:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _post(
        self, session: aiohttp.ClientSession, url: str, kind: str, body: bytes, delivery: str
    ) -> _Untold | None:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "llmux",
            "X-Llmux-Event": kind,
            "X-Llmux-Delivery": delivery,
            **(signed(body, self._secret, int(time.time())) if self._secret else {}),
        }
        try:
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except TimeoutError:
            return _Untold(f"no answer within {self._config.timeout:g} s", again=True)
        except aiohttp.ClientError as error:
            # Not its words: they may have the address in them.
            return _Untold(f"{urlsplit(url).hostname}: {type(error).__name__}", again=True)
        if 200 <= status < 300:
            return None
        return _Untold(f"{urlsplit(url).hostname} answers with {status}", again=status in _AGAIN)

    async def _run(self, kind: str, body: str) -> _Untold | None:
        # Not llmux's whole environment: what is in it (a token for a model cache) is nothing to a hook.
        env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
        env |= {"LLMUX_EVENT": body, "LLMUX_EVENT_KIND": kind}
        try:
            done = await run(self._config.command, timeout=self._config.timeout, env=env)
        except EffectError as error:
            return _Untold(error.what(), again=True)
        if done.code == 0:
            return None
        words = done.stderr.decode("utf-8", "replace").strip()[-200:]
        return _Untold(
            f"{self._config.command[0]} ended with {done.code}" + (f": {words}" if words else ""), again=True
        )


def signed(body: bytes, secret: bytes, at: int) -> dict[str, str]:
    """Return the headers that sign `body`: whoever knows the secret makes the same of the time and what was sent."""
    digest = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Llmux-Timestamp": str(at), "X-Llmux-Signature": f"sha256={digest}"}


def told(entry: Entry) -> dict[str, object]:
    """Return what a hook is told of an entry."""
    at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds")
    return {"id": entry.id, "at": at, "event": entry.kind, "data": msgspec.to_builtins(entry.happening)}
