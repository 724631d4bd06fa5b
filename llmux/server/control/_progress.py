"""How far an operation is: by the states of its replicas, by what lies on disk already, and by what it used to take."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import assert_never

from llmux.server._checkpoints import CheckpointStore
from llmux.server._driver import Driver
from llmux.server._model import (
    Draining,
    GoingToSleep,
    Process,
    Running,
    Starting,
    Waking,
    name_of,
)
from llmux.server._record import Model, Replica
from llmux.server.control._jobs import Job, Kind

_OVERDUE = 0.25
"""What takes longer than it used to is taken to need this share of its usual time again."""
_WAITING = "waiting"
"""The phase of a wake that has not begun: others make room for it."""


@dataclass(frozen=True)
class Progress:
    """What can be said of an operation that is under way."""

    phase: str
    eta: float | None = None
    """In seconds."""
    size: int | None = None
    """Bytes that are written."""
    size_in_all: int | None = None

    def percent(self, seconds: float) -> float | None:
        """Return how much is done after so many seconds; never all of it."""
        if self.size is not None and self.size_in_all:
            done = self.size / self.size_in_all
        elif self.eta is not None:
            done = seconds / (seconds + self.eta or 1.0)
        else:
            return None
        return round(min(99.0, 100.0 * done), 1)


async def progress(job: Job, driver: Driver, store: CheckpointStore | None) -> Progress:
    """Return how far an operation is that is not over."""
    model = driver.models.get(job.model or "")
    if model is None:
        return Progress("under_way")
    match job.kind:
        case Kind.WAKE | Kind.SWITCH:
            return _waking(model, driver)
        case Kind.SLEEP:
            return await _sleeping(model, store)
        case Kind.DRAIN:
            return Progress("draining")
        case Kind.VERIFY:
            return Progress("verifying")
        case _:
            assert_never(job.kind)


def _waking(model: Model, driver: Driver) -> Progress:
    rising = [each for each in model.replicas if isinstance(each.state, Running | Starting | Waking)]
    phase = name_of(rising[0].state) if rising else _WAITING
    return Progress(phase, round(driver.outlook(model.name), 3))


async def _sleeping(model: Model, store: CheckpointStore | None) -> Progress:
    sinking = [each for each in model.replicas if isinstance(each.state, Draining | GoingToSleep)]
    if not sinking:
        return Progress(name_of(model.replicas[0].state))
    last = next((each for each in sinking if isinstance(each.state, Draining)), sinking[0])
    if isinstance(last.state, Draining):  # nobody knows how long answers take
        return Progress("draining")
    sizes = [await asyncio.to_thread(store.in_the_making, each.name) for each in sinking] if store else []
    written = [size for size in sizes if size is not None]
    return Progress(
        "going_to_sleep",
        round(max(_until_asleep(each) for each in sinking), 3),
        sum(written) if written else None,
        sum(filter(None, map(_size_of, sinking))) or None,
    )


def _until_asleep(replica: Replica) -> float:
    state = replica.state
    if not isinstance(state, GoingToSleep):
        return 0.0
    usual = replica.takes.sleep[state.eviction.process]
    return max(usual - (time.monotonic() - state.since), usual * _OVERDUE)


def _size_of(replica: Replica) -> int | None:
    return replica.sizes.asleep.get(Process.CHECKPOINT, {}).get("disk")
