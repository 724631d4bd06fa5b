"""LoRA adapters that clients ask for as models: which engine has which loaded, and which goes for another.

An adapter is loaded into the engine that its first request was given to. What an engine has loaded is asked of it, once in
each time that it serves: it may have come back from disk with adapters, or have been started anew without any. At the limit
the least recently used one without requests in flight is unloaded; where each has some, the request waits for the first
that has none, and so do those that come after it, so that no adapter that is always in use keeps another out for ever.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from http import HTTPStatus

import aiohttp

from llmux.server._hands import Life
from llmux.server._queue import Admission
from llmux.server._record import Model
from llmux.server.engines import _lora
from llmux.server.errors import ModelUnavailable, Problem, RequestTimedOut

log = logging.getLogger(__name__)

_SOONER = 0.05
"""Seconds by which a wait ends before the request's time does, so that it is told what it has waited for."""
_EXCERPT = 500
_JSON = {"Content-Type": "application/json"}


class Adapters:
    """Every engine's adapters."""

    def __init__(self) -> None:
        self._shelves: dict[str, _Shelf] = {}

    def hold(self, model: Model, name: str, admission: Admission) -> AbstractAsyncContextManager[None]:
        """Have the adapter loaded that a request asks for by `name`, and stay so; do nothing for the model itself.

        Raises ModelUnavailable where the engine refuses it, RequestTimedOut, and aiohttp.ClientError where the engine does
        not answer.
        """
        path = model.rules.adapters.get(name)
        return nullcontext() if path is None else self._held(model, name, path, admission)

    @asynccontextmanager
    async def _held(self, model: Model, name: str, path: str, admission: Admission) -> AsyncIterator[None]:
        shelf = self._shelf(model, admission)
        seconds = model.rules.request_timeout
        try:
            async with asyncio.timeout(admission.place.arrived + seconds - _SOONER - time.monotonic()):
                await shelf.take(name, path, model.rules.max_adapters)
        except TimeoutError:
            hint = "Ask again later, or raise its time-out for requests or max_adapters"
            raise RequestTimedOut(name, seconds, shelf.awaited(model.rules.max_adapters), hint=hint) from None
        try:
            yield
        finally:
            shelf.put_back(name)

    def loaded(self, model: Model) -> Mapping[str, tuple[str, ...]]:
        """Return, for each adapter of the model, the replicas that serve and are known to have it."""
        shelves = {
            each.name: shelf
            for each in model.replicas
            if (shelf := self._shelves.get(each.name)) and shelf.is_of(each.life, each.served_since)
        }
        return {
            name: tuple(replica for replica, shelf in shelves.items() if name in shelf.names)
            for name in model.rules.adapters
        }

    def _shelf(self, model: Model, admission: Admission) -> _Shelf:
        replica = next(each for each in model.replicas if each.name == admission.replica)
        shelf = self._shelves.get(replica.name)
        if shelf is None or not shelf.is_of(admission.life, replica.served_since):
            shelf = self._shelves[replica.name] = _Shelf(replica.name, admission.life, replica.served_since)
        return shelf


class _Shelf:
    """What one engine has loaded in one time that it serves."""

    def __init__(self, replica: str, life: Life, since: float) -> None:
        self._replica = replica
        self._life = life
        self._since = since
        self._paths: dict[str, str] | None = None
        """Of each that is loaded; None: it has not been asked, or a call was broken off whose outcome is not known."""
        self._users: Counter[str] = Counter()
        self._used: dict[str, float] = {}
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()
        self._crowded = False
        """Somebody waits for a place."""

    @property
    def names(self) -> Iterable[str]:
        return self._paths or ()

    def awaited(self, places: int) -> str:
        """Say what a request waits for here."""
        busy = sum(1 for users in self._users.values() if users)
        return f"waiting for its adapter to be loaded ({busy} others have requests in flight, and {places} may be loaded)"

    def is_of(self, life: Life | None, since: float) -> bool:
        return self._life is life and self._since == since

    async def take(self, name: str, path: str, places: int) -> None:
        """Have an adapter loaded, and counted as in use."""
        if self._crowded or not self._has(name, path):
            async with self._turn:
                await self._bring(name, path, places)
                self._count(name)
        else:
            self._count(name)

    def put_back(self, name: str) -> None:
        self._users[name] -= 1
        self._used[name] = time.monotonic()
        if not self._users[name]:
            self._freed.set()

    def _has(self, name: str, path: str) -> bool:
        return self._paths is not None and self._paths.get(name) == path

    def _count(self, name: str) -> None:
        self._users[name] += 1
        self._used[name] = time.monotonic()

    async def _bring(self, name: str, path: str, places: int) -> None:
        try:
            paths = self._paths = await self._list() if self._paths is None else self._paths
            if paths.get(name) == path:
                return
            if name in paths:  # it is configured to be elsewhere now
                await self._unload(paths, await self._until_free({name}))
            while len(paths) >= places:
                await self._unload(paths, await self._until_free(paths))
            await self._load(paths, name, path)
        except BaseException:
            self._paths = None
            raise

    async def _until_free(self, names: Iterable[str]) -> str:
        """Return the least recently used of these that has no requests in flight, waiting for one."""
        while not (idle := [name for name in names if not self._users[name]]):
            self._crowded = True
            self._freed.clear()
            try:
                await self._freed.wait()
            finally:
                self._crowded = False
        return min(idle, key=lambda name: self._used.get(name, 0.0))

    # ---- the engine's calls ----

    async def _list(self) -> dict[str, str]:
        status, answer = await self._call("GET", _lora.LIST)
        if status >= HTTPStatus.BAD_REQUEST:
            raise self._refused("does not list its adapters", f"{status}: {_excerpt(answer)}")
        try:
            return _lora.adapters_in(answer)
        except ValueError as error:
            raise self._refused("does not list its adapters", str(error)) from error

    async def _load(self, paths: dict[str, str], name: str, path: str) -> None:
        began = time.monotonic()
        status, answer = await self._call("POST", _lora.LOAD, _lora.load_body(name, path))
        # A call that was broken off may have loaded it after all, and then the engine refuses to do so twice.
        if status >= HTTPStatus.BAD_REQUEST and (await self._list()).get(name) != path:
            raise self._refused(
                f"cannot load the adapter {name} from {path}", f"{status}: {_excerpt(answer)}"
            )
        paths[name] = path
        seconds = time.monotonic() - began
        log.info("%s: loaded the adapter %s from %s in %.3f s", self._replica, name, path, seconds)

    async def _unload(self, paths: dict[str, str], name: str) -> None:
        del paths[name]  # first: from here on nobody may take it for loaded
        status, answer = await self._call("POST", _lora.UNLOAD, _lora.unload_body(name))
        if status >= HTTPStatus.BAD_REQUEST and status != HTTPStatus.NOT_FOUND:
            raise self._refused(f"cannot unload the adapter {name}", f"{status}: {_excerpt(answer)}")
        log.info("%s: unloaded the adapter %s", self._replica, name)

    async def _call(self, method: str, path: str, body: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        if self._life.session.closed:
            raise aiohttp.ClientConnectionError("the engine has just ended")
        url = self._life.url.with_path(path)
        async with self._life.session.request(method, url, json=body, headers=_JSON) as response:
            return response.status, await response.read()

    def _refused(self, what: str, why: str) -> ModelUnavailable:
        hint = f"See the engine's log, {self._life.log}, and models.NAME.adapters in the configuration"
        problem = Problem("adapter_not_loaded", f"the engine {what} ({why})", hint)
        return ModelUnavailable(self._replica, problem)


def _excerpt(answer: bytes) -> str:
    return answer.decode("utf-8", "replace").strip()[:_EXCERPT] or "(nothing)"
