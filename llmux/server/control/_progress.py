"""How far an operation is: by the phases of its replicas' moves, by what lies on disk already, and by what it used to take."""

from __future__ import annotations

import asyncio
import time
from typing import assert_never

from llmux.server._checkpoints import CheckpointStore
from llmux.server._driver import Driver
from llmux.server._model import Draining, GoingToSleep, Process, Running, Starting, Waking, name_of
from llmux.server._record import Model, Replica
from llmux.server._takes import sleep_of, wake_of
from llmux.server.control._jobs import Job, Kind
from llmux.server.control._reckoning import Progress, left, left_of_move

_WAITING = "waiting"
"""The phase of a wake that has not begun: others make room for it."""
_DUMP = "dump"


async def progress(job: Job, driver: Driver, store: CheckpointStore | None) -> Progress:
    """Return how far an operation is that is not over."""
    if job.how_far:
        return job.how_far(job.seconds)
    model = driver.models.get(job.model or "")
    match job.kind:
        case Kind.WAKE | Kind.SWITCH if model:
            return _waking(model, driver)
        case Kind.SLEEP if model:
            return await _sleeping(model, store)
        case Kind.DRAIN:
            return Progress("draining")
        case Kind.WAKE | Kind.SWITCH | Kind.SLEEP | Kind.VERIFY | Kind.PRUNE:
            return Progress("under_way")
        case _:
            assert_never(job.kind)


def _waking(model: Model, driver: Driver) -> Progress:
    rising = [each for each in model.replicas if isinstance(each.state, Running | Starting | Waking)]
    eta = _until_awake(rising[0]) if rising else None
    return Progress(
        phase_of(rising[0]) if rising else _WAITING,
        round(driver.outlook(model.name) if eta is None else eta, 3),
    )


def _until_awake(replica: Replica) -> float | None:
    """Return what is left by what its phases used to take, where that is known."""
    step, state = replica.step, replica.state
    if step is None or not isinstance(state, Starting | Waking):
        return None
    process = state.eviction.process if isinstance(state, Waking) else Process.STOP
    return left_of_move(replica.takes.parts, wake_of(process), step.phase, time.monotonic() - step.since)


async def _sleeping(model: Model, store: CheckpointStore | None) -> Progress:
    sinking = [each for each in model.replicas if isinstance(each.state, Draining | GoingToSleep)]
    if not sinking:
        return Progress(name_of(model.replicas[0].state))
    if any(isinstance(each.state, Draining) for each in sinking):  # nobody knows how long answers take
        return Progress("draining")
    written = {each.name: await _written(each, store) for each in sinking}
    etas = {each.name: _until_asleep(each, written[each.name]) for each in sinking}
    last = max(sinking, key=lambda each: etas[each.name])
    sizes = [size for size in written.values() if size is not None]
    return Progress(
        phase_of(last),
        round(etas[last.name], 3),
        sum(sizes) if sizes else None,
        sum(filter(None, map(_size_of, sinking))) or None,
    )


async def _written(replica: Replica, store: CheckpointStore | None) -> int | None:
    return await asyncio.to_thread(store.in_the_making, replica.name) if store else None


def _until_asleep(replica: Replica, written: int | None) -> float:
    state, step, now = replica.state, replica.step, time.monotonic()
    if not isinstance(state, GoingToSleep):
        return 0.0
    process = state.eviction.process
    if step:
        share = _share(replica, written) if step.phase == _DUMP else None
        known = left_of_move(replica.takes.parts, sleep_of(process), step.phase, now - step.since, share)
        if known is not None:
            return known
    return left(replica.takes.sleep[process], now - state.since)


def _share(replica: Replica, written: int | None) -> float | None:
    in_all = _size_of(replica)
    return written / in_all if written is not None and in_all else None


def _size_of(replica: Replica) -> int | None:
    """Return what the last checkpoint takes; before there was one, an engine's memory says little of what will be written of it."""
    going_to_disk = (
        isinstance(replica.state, GoingToSleep) and replica.state.eviction.process is Process.CHECKPOINT
    )
    return replica.stored.size_bytes if replica.stored and going_to_disk else None


def phase_of(replica: Replica) -> str:
    """Return what a replica's move is at: its phase, or its state where it is between two."""
    return replica.step.phase if replica.step else name_of(replica.state)
