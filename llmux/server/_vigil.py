"""Watches engines that have requests in flight: one that neither brings bytes nor answers /health is lost.

An engine is examined when a request has met a fault of it, when an answer's time was over, and when nothing has come from
it for a while. It is asked twice, so that a busy moment is not its end. Nothing is asked of an engine that sleeps.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping

from llmux.server._hands import Life
from llmux.server._model import Draining, EngineLost, Event, Running
from llmux.server._record import Model, Replica

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds between two looks at all engines."""
QUIET = 10.0
"""Seconds without a byte from an engine with requests in flight after which it is asked for its health."""
_ASKED = 2
_SILENCES = 2
"""Answers in a row that have stopped without a byte of any other in between: no good /health outweighs that."""


class Vigil:
    """Have `keep` run as a task; call `suspect` for an engine that something is wrong with."""

    def __init__(
        self,
        models: Mapping[str, Model],
        feed: Callable[[Replica, Event], None],
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
    ) -> None:
        """`feed` is told of engines that are lost; `spawn` runs an examination."""
        self._models = models
        self._feed = feed
        self._spawn = spawn
        self._examined: dict[str, asyncio.Task[None]] = {}

    async def keep(self) -> None:
        """Look at all engines again and again."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for model in self._models.values():
                for replica in model.replicas:
                    if replica.life and _quiet(replica, time.monotonic()):
                        self._examine(replica, replica.life)

    def suspect(self, replica: Replica, life: Life, *, silent: bool) -> asyncio.Task[None]:
        """Begin to examine an engine, unless that is under way; the task ends with that."""
        stall = self._models[replica.model].rules.stall
        if silent and stall is not None and time.monotonic() - replica.heard_at >= stall:
            replica.silences += 1
        return self._examine(replica, life)

    def _examine(self, replica: Replica, life: Life) -> asyncio.Task[None]:
        task = self._examined.get(replica.name)
        if task is None or task.done():
            task = self._examined[replica.name] = self._spawn(self._look(replica, life))
        return task

    async def _look(self, replica: Replica, life: Life) -> None:
        fault = await _fault(replica, life)
        if fault and _serves(replica, life):
            why = await life.post_mortem(fault)
            if _serves(replica, life):
                log.warning("%s: %s", replica.name, why)
                self._feed(replica, EngineLost(why))


async def _fault(replica: Replica, life: Life) -> str:
    for _ in range(_ASKED):
        if not _serves(replica, life):
            return ""
        fault = await life.fault()
        if not fault:
            break
    if not fault and replica.silences >= _SILENCES:
        return (
            f"it answers /health, but {replica.silences} answers have stopped, and not a byte came in between"
        )
    return fault


def _serves(replica: Replica, life: Life) -> bool:
    return replica.life is life and isinstance(replica.state, Running | Draining)


def _quiet(replica: Replica, now: float) -> bool:
    return bool(replica.flights) and now - replica.heard_at >= QUIET
