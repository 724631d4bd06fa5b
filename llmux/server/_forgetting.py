"""Removing a replica's checkpoint by hand: one that sleeps in it sleeps deeper, and starts cold when it is next woken."""

from __future__ import annotations

import asyncio

from llmux.server._depth import STOPPED
from llmux.server._driver import Driver
from llmux.server._happenings import CheckpointRemoved
from llmux.server._model import Asleep, Failed, NotStarted, Process, Running, name_of
from llmux.server._record import Replica
from llmux.server.errors import IllegalMove, ModelUnavailable


async def forget(driver: Driver, replica: Replica) -> None:
    """Remove it. Raises IllegalMove where something is under way with the replica, ModelUnavailable where that fails."""
    match replica.state:
        case Asleep(eviction=eviction) if eviction.process is Process.CHECKPOINT:
            if problem := await driver.sleep_replica(replica, STOPPED):
                raise ModelUnavailable(replica.model, problem)
        case Running() | NotStarted() | Failed() | Asleep() if not replica.becomes:
            task = driver.spawn(_forget(driver, replica, replica.operation))
            replica.operation = task
            await asyncio.wait((task,))
        case _:
            hint = "Ask again once it serves or sleeps; GET /control/status shows its state"
            raise IllegalMove(name_of(replica.state), "lose its checkpoint", hint=hint)


async def _forget(driver: Driver, replica: Replica, before: asyncio.Task[None] | None) -> None:
    if before and not before.done():
        await asyncio.wait((before,))
    await replica.hands.forget()
    replica.stored = replica.checkpoint_problem = None
    why = "it was removed by hand"
    driver.bus.publish(CheckpointRemoved(model=replica.model, replica=replica.name, why=why))
    driver.changed()
