"""What another configuration makes of replicas that are there: each comes to rest, and then is another, or goes.

What is under way of a replica is let finish first: a start, a wake, a sleep. One that serves is drained within its bound.
Its checkpoint stays on disk; whether it may still be restored, the store says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import assert_never

from llmux.server._depth import KEPT, STOPPED
from llmux.server._finding import look
from llmux.server._model import (
    Asleep,
    DeepenAsked,
    Deepening,
    Draining,
    Event,
    Failed,
    GoingToSleep,
    NotStarted,
    Renewed,
    Running,
    SleepAsked,
    Starting,
    Waking,
)
from llmux.server._record import Anew, Gone, Model, Replica

log = logging.getLogger(__name__)


class Renewals:
    """Brings each replica to what it `becomes`."""

    def __init__(
        self,
        models: dict[str, Model],
        feed: Callable[[Replica, Event], None],
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        done: Callable[[], None],
    ) -> None:
        """Call `done` for each that has changed; the rest is the driver's as elsewhere."""
        self._models = models
        self._feed = feed
        self._spawn = spawn
        self._done = done
        self._under_way: set[Replica] = set()
        self._rested = asyncio.Event()

    def begin(self, replicas: Iterable[Replica]) -> None:
        """Begin with these; one that is under way already finds out that it is to be something else."""
        for replica in replicas:
            if replica not in self._under_way:
                self._under_way.add(replica)
                self._spawn(self._renew(replica))
        self._rested.set()  # whoever waits for a port looks again whether he still wants it

    async def _renew(self, replica: Replica) -> None:
        try:
            while into := replica.becomes:
                await self._come_to_rest(replica)
                replica.port = 0
                self._rested.set()
                match into:
                    case Gone() if replica.becomes is into:
                        self._drop(replica)
                        return
                    case Anew() if await self._has_its_port(replica, into) and _rests(replica):
                        await self._be(replica, into)
                    case _:
                        pass  # meanwhile it is to be something else, or somebody has it sleep deeper
        finally:
            self._under_way.discard(replica)

    async def _come_to_rest(self, replica: Replica) -> None:
        while True:
            operation = replica.operation
            match replica.state:
                case Running():
                    self._feed(replica, SleepAsked(STOPPED, busy=replica.is_busy))
                case Asleep(eviction=eviction) if eviction.process in KEPT:
                    self._feed(replica, DeepenAsked(STOPPED))
                case Draining() | GoingToSleep() | Deepening():
                    await replica.until_asleep()
                case _ if operation and not operation.done():
                    await asyncio.wait((operation,))
                case Starting() | Waking():
                    await asyncio.sleep(0)  # its operation is over, and the next one begins
                case Asleep() | NotStarted() | Failed():
                    return
                case _:
                    assert_never(replica.state)

    async def _has_its_port(self, replica: Replica, into: Anew) -> bool:
        """Wait until no other replica's engine has the port, if it has one; return whether it is still to be this."""
        while replica.becomes is into and any(
            into.port and each.port == into.port for model in self._models.values() for each in model.replicas
        ):
            self._rested.clear()
            await self._rested.wait()
        return replica.becomes is into

    async def _be(self, replica: Replica, into: Anew) -> None:
        replica.hands, replica.port = into.hands, into.port
        replica.stored = replica.checkpoint_problem = replica.last_wake = None
        self._feed(replica, Renewed())
        await look(replica, self._feed)
        if replica.becomes is into:
            replica.becomes = None
            log.info("%s: is configured anew", replica.name)
            self._done()

    def _drop(self, replica: Replica) -> None:
        model = self._models[replica.model]
        model.replicas = tuple(each for each in model.replicas if each is not replica)
        if model.departing and not model.replicas:
            del self._models[model.name]
        log.info("%s: is configured no longer, and at rest", replica.name)
        self._done()


def _rests(replica: Replica) -> bool:
    return isinstance(replica.state, Asleep | NotStarted | Failed)
