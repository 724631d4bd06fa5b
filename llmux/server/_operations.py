"""The long steps of a model's life: start, wake, sleep, end. Each ends by feeding the event that tells its outcome.

An operation never raises: it runs as a task that nobody waits for, so whatever goes wrong becomes that event.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import assert_never

from llmux.server._hands import Life
from llmux.server._model import (
    Asleep,
    Awake,
    Draining,
    EngineLost,
    Event,
    Eviction,
    NoRoom,
    Process,
    Running,
    SleepFailed,
    Slept,
    StartFailed,
    Wake,
    WakeFailed,
    WakeKind,
)
from llmux.server._places import NoPlaceError, Places
from llmux.server._record import Model
from llmux.server.errors import EngineGone, EvictionRefused, Problem, ServerError

log = logging.getLogger(__name__)


class Operations:
    """What the driver runs as tasks, one after another per model."""

    def __init__(
        self, feed: Callable[[Model, Event], None], places: Places, watch: Callable[[Model, Life], None]
    ) -> None:
        """`feed` takes the outcome; `watch` has `until_lost` run for an engine that has come to serve."""
        self._feed = feed
        self._places = places
        self._watch = watch

    async def start(self, model: Model, why: str) -> None:
        """Start the engine cold, for the reason `why`."""
        began = time.monotonic()
        try:
            await self.end(model)
            await self._places.enter(model)
            life = await model.hands.cold_start()
        except NoPlaceError as full:
            self._feed(model, NoRoom(full.problem()))
        except Exception as error:  # noqa: BLE001 - a task's boundary
            self._feed(model, StartFailed(_problem(model, "cold start", error)))
        else:
            self._serve(model, life, _wake(WakeKind.COLD_START, began, why))

    async def wake(self, model: Model, eviction: Eviction) -> None:
        """Bring the engine back from a sleep that left its process running, or from its checkpoint."""
        began = time.monotonic()
        try:
            await self._places.enter(model)
            if model.life:
                await model.life.resume(eviction.weights)
                self._feed(model, Awake(_wake(WakeKind.WARM, began)))
                return
            life, model.stored = await model.hands.restore()
        except NoPlaceError as full:
            self._feed(model, NoRoom(full.problem()))
        except Exception as error:  # noqa: BLE001 - a task's boundary
            self._feed(model, WakeFailed(_problem(model, "wake", error)))
        else:
            self._serve(model, life, _wake(WakeKind.RESTORED, began))

    async def put_to_sleep(self, model: Model, eviction: Eviction) -> None:
        """Put the engine to sleep; where that fails, make it serve again."""
        try:
            await self._let_go(model, _living(model), eviction)
        except Exception as error:  # noqa: BLE001 - a task's boundary
            await self._take_back(model, eviction, _problem(model, "sleep", error))
        else:
            self._feed(model, Slept())

    async def end(self, model: Model) -> None:
        """End what runs of the engine."""
        life, model.life = model.life, None
        if life:
            try:
                await life.close()
            except (
                Exception
            ):  # a task's boundary: what comes next says if something of it is still in the way
                log.exception("%s: its engine could not be ended properly", model.name)

    async def until_lost(self, model: Model, life: Life) -> None:
        """Tell the machine if this engine ends while no operation is at work on it."""
        why = await _ending(model, life)
        while model.operation and not model.operation.done():
            await asyncio.wait((model.operation,))
        kept = isinstance(model.state, Asleep) and model.state.eviction.process is Process.KEEP_RUNNING
        if model.life is life and (kept or isinstance(model.state, Running | Draining)):
            log.warning("%s: %s", model.name, why)
            self._feed(model, EngineLost(why))

    def _serve(self, model: Model, life: Life, wake: Wake) -> None:
        model.life = life
        self._watch(model, life)
        self._feed(model, Awake(wake))
        log.info(
            "%s: %s in %.2f s %s", model.name, wake.kind, wake.seconds, wake.reason and f"({wake.reason})"
        )

    async def _let_go(self, model: Model, life: Life, eviction: Eviction) -> None:
        began = time.monotonic()
        match eviction.process:
            case Process.KEEP_RUNNING:
                await life.quieten(eviction.weights)
            case Process.CHECKPOINT:
                await life.quieten(eviction.weights)
                model.stored = await model.hands.dump(life, eviction, began)
                model.checkpoint_problem = None
                await self.end(model)
            case Process.STOP:
                await self.end(model)
            case Process.CUDA_SUSPEND:
                raise EvictionRefused(model.hands.refusal(eviction))
            case _:
                assert_never(eviction.process)

    async def _take_back(self, model: Model, eviction: Eviction, problem: Problem) -> None:
        try:
            await _living(model).resume(eviction.weights)
        except Exception as error:  # noqa: BLE001 - a task's boundary: the engine is lost then
            more = _problem(model, "wake after the failed sleep", error)
            lost = Problem(problem.code, f"{problem.message}; and then {more.message}", problem.hint)
            self._feed(model, EngineLost(lost))
        else:
            self._feed(model, SleepFailed(problem))


async def _ending(model: Model, life: Life) -> Problem:
    try:
        return await life.wait()
    except Exception as error:  # noqa: BLE001 - a task's boundary: an engine that cannot be watched is as good as lost
        return _problem(model, "watching the engine", error)


def _living(model: Model) -> Life:
    if model.life is None or model.life.ended:
        raise EngineGone(model.name)
    return model.life


def _wake(kind: WakeKind, began: float, reason: str = "") -> Wake:
    return Wake(kind, time.monotonic() - began, time.time(), reason)


def _problem(model: Model, doing: str, error: Exception) -> Problem:
    """Return what went wrong as a value; log what nobody foresaw with its traceback."""
    match error:
        case ServerError():
            problem = error.problem()
        case _:
            log.error("%s: %s failed unforeseen", model.name, doing, exc_info=error)
            message = f"{doing} failed: {type(error).__name__}: {error}"
            problem = Problem("internal_error", message, "See llmux's log")
    log.warning("%s: %s failed: %s", model.name, doing, problem)
    return problem
