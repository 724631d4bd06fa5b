"""What becomes of engines whose GPU is hurt or lost: they end, and where it is lost none starts there until it is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping

from llmux.server._capacity import gpu_memory
from llmux.server._hands import Life
from llmux.server._model import (
    Asleep,
    Draining,
    EngineLost,
    Event,
    Failed,
    Pardoned,
    Process,
    Running,
)
from llmux.server._record import Model, Replica, until_idle
from llmux.server.errors import Problem

log = logging.getLogger(__name__)


class Grounding:
    """Knows the GPUs that are lost."""

    def __init__(
        self,
        models: Mapping[str, Model],
        feed: Callable[[Replica, Event], None],
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
    ) -> None:
        """`feed` is told of engines that are lost; `spawn` runs what waits for an operation's end."""
        self._models = models
        self._feed = feed
        self._spawn = spawn
        self._lost: dict[int, Problem] = {}
        self.seen: Mapping[str, Collection[int]] = {}
        """The GPUs that a replica's processes were last seen on, whatever its configuration says."""

    def why(self, replica: Replica) -> Problem | None:
        """Return why no engine of this replica can run: a GPU of it is lost."""
        return next((why for gpu, why in self._lost.items() if _is_for(replica, gpu)), None)

    def end(self, gpu: int, why: Problem) -> None:
        """Have the engines that run on a GPU be lost; they may be started again."""
        for replica in self._on(gpu):
            if replica.life:
                self._spawn(self._lose(replica, why, replica.life))

    def ground(self, gpu: int, why: Problem) -> None:
        """Have the same, and none start there."""
        self._lost[gpu] = why
        for replica in self._on(gpu):
            self._spawn(self._lose(replica, why, None))

    def release(self, gpu: int) -> None:
        """Have engines start there again, at once where somebody waits for them."""
        self._lost.pop(gpu, None)
        for replica in self._on(gpu):
            if isinstance(replica.state, Failed):
                self._feed(replica, Pardoned())

    def _on(self, gpu: int) -> Iterable[Replica]:
        return [
            replica
            for model in self._models.values()
            for replica in model.replicas
            if _is_for(replica, gpu) or gpu in self.seen.get(replica.name, ())
        ]

    async def _lose(self, replica: Replica, why: Problem, only: Life | None) -> None:
        """Have its engine be lost once no operation is at work on it; `only` this one, where one is given."""
        await until_idle(replica)
        if _uses_gpus(replica) and (only is None or only is replica.life):
            log.warning("%s: %s", replica.name, why)
            self._feed(replica, EngineLost(why))


def _is_for(replica: Replica, gpu: int) -> bool:
    return gpu_memory(gpu) in replica.sizes.awake


def _uses_gpus(replica: Replica) -> bool:
    """Say whether its engine may have something on GPUs; one that is suspended has left them."""
    match replica.state:
        case Running() | Draining():
            return True
        case Asleep(eviction=eviction):
            return eviction.process is Process.KEEP_RUNNING
        case _:
            return False
