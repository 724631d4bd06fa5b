"""The GPUs of one llmux: looked at when somebody asks, watched all the time, and what follows of what is heard."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import assert_never

from aiohttp import web

from llmux.server import _memory
from llmux.server._driver import Driver
from llmux.server._grounding import Grounding
from llmux.server._nvml import in_daemon
from llmux.server._web import DRIVER
from llmux.server.errors import Problem
from llmux.server.gpus import _devices, _xid, errors
from llmux.server.gpus._devices import Xid
from llmux.server.gpus._seen import Sight, others, shares
from llmux.server.gpus._watch import Back, Gone, Happened, Watch
from llmux.server.gpus._xid import Hurt

log = logging.getLogger(__name__)

FRESH = 2.0
"""Seconds that what was seen is told again."""
PATIENCE = 1.0
"""Seconds that whoever asks waits for NVML; then what was seen last is told."""
_END = 2.0
"""Seconds for the watch to end."""


@dataclass(frozen=True)
class Heard:
    """The last critical error of a GPU."""

    number: int
    at: float
    """Since the epoch."""

    def __str__(self) -> str:
        return _xid.in_words(self.number)


class Gpus:
    """`open` it in the loop, ask `seen`, `close` it in the end."""

    def __init__(
        self, driver: Driver, indexes: Collection[int], gone: Mapping[int, str] = MappingProxyType({})
    ) -> None:
        """`indexes` are those of the GPUs that engines may use; `gone` more that are lost already, each with why."""
        self._driver = driver
        self._indexes = tuple(sorted({*indexes, *gone}))
        self._gone = gone
        self._watch: Watch | None = None
        self._looking: asyncio.Future[Sight] | None = None
        self._sight = Sight()
        self._looked_at = -math.inf
        """By the monotonic clock."""
        self.heard: dict[int, Heard] = {}
        self.lost: dict[int, Problem] = {}

    def open(self) -> None:
        """Begin to watch."""
        loop = asyncio.get_running_loop()

        def tell(happened: Happened) -> None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self.take, happened)

        for gpu, why in self._gone.items():
            self.take(Gone(gpu, why))
        self._watch = Watch(self._indexes, tell, self._gone)
        self._watch.start()

    async def close(self) -> None:
        """Watch no more."""
        if self._watch and not await in_daemon(partial(self._watch.stop, _END)):
            log.warning("NVML does not answer; its thread is left behind")

    @property
    def indexes(self) -> tuple[int, ...]:
        """Return those of all GPUs, lost ones too."""
        return self._indexes

    async def seen(self) -> Sight:
        """Return how the GPUs are."""
        if time.monotonic() - self._looked_at > FRESH:
            if self._looking is None or self._looking.done():
                engines = {each.name: each.life.init_pid for each in self._driver.replicas if each.life}
                self._looking = in_daemon(partial(look, self._indexes, engines))
                self._looking.add_done_callback(self._looked)
            await asyncio.wait((self._looking,), timeout=PATIENCE)
        return self._sight

    def _looked(self, looking: asyncio.Future[Sight]) -> None:
        if looking.cancelled():
            return
        if error := looking.exception():
            log.error("NVML cannot be read: this is a fault of llmux", exc_info=error)
            return
        self._sight, self._looked_at = looking.result(), time.monotonic()
        answer, before = {each.index for each in self._sight.gpus}, self._grounding.seen
        self._grounding.seen = {  # of a GPU that does not answer, what was seen last
            name: {*(share or ()), *(set(before.get(name, ())) - answer)}
            for name, share in self._sight.shares.items()
        }

    # ---- what is heard ----

    def take(self, happened: Happened) -> None:
        """Do what follows; where llmux ends, every engine does."""
        if self._driver.stopping:
            return
        match happened:
            case Xid(gpu, number):
                self.heard[gpu] = Heard(number, time.time())
                self._hurt(gpu, number)
            case Gone(gpu, why):
                if gpu not in self.lost:
                    self._lose(gpu, f"NVML: {why}")
            case Back(gpu):
                self._find(gpu)
            case _:
                assert_never(happened)

    def _hurt(self, gpu: int, number: int) -> None:
        words = _xid.in_words(number)
        match _xid.hurt(number):
            case Hurt.GPU:
                self._lose(gpu, words)
            case Hurt.ENGINES:
                problem = errors.failed(gpu, words).problem()
                log.error("%s", problem)
                self._grounding.end(gpu, problem)
            case Hurt.PROCESS | Hurt.NOBODY:
                log.warning("GPU %d: %s", gpu, words)

    def _lose(self, gpu: int, how: str) -> None:
        problem = errors.lost(gpu, how).problem()
        log.critical("%s", problem)
        self.lost[gpu] = problem
        self._grounding.ground(gpu, problem)

    def _find(self, gpu: int) -> None:
        log.warning("GPU %d answers again", gpu)
        self.lost.pop(gpu, None)
        self._grounding.release(gpu)

    @property
    def _grounding(self) -> Grounding:
        return self._driver.grounding


def look(indexes: Collection[int], engines: Mapping[str, int], proc: Path = Path("/proc")) -> Sight:
    """Look at these GPUs, and whose memory that is; `engines` are the first processes of the sandboxes. Blocks."""
    gpus = _devices.look(indexes)
    trees = {name: frozenset(_memory.tree(pid, proc)) for name, pid in engines.items()}
    ours = frozenset[int]().union(*trees.values())
    users = {user.pid for gpu in gpus for user in gpu.users or ()}
    here = {pid for pid in users if (proc / str(pid)).exists()}
    return Sight(gpus, time.time(), shares(gpus, trees, here), others(gpus, ours))


GPUS = web.AppKey("gpus", Gpus)


def attach(
    app: web.Application, indexes: Collection[int], gone: Mapping[int, str] = MappingProxyType({})
) -> None:
    """Watch these GPUs as long as the application lives; where there are none, there is nothing to ask."""
    if indexes or gone:
        app[GPUS] = Gpus(app[DRIVER], indexes, gone)
        app.cleanup_ctx.insert(0, _opened)  # nothing is to start on one that is gone


async def _opened(app: web.Application) -> AsyncIterator[None]:
    app[GPUS].open()
    yield
    await app[GPUS].close()
