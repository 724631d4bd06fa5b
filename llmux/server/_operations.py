"""The long steps of a replica's life: start, wake, sleep, deepen, end. Each ends by feeding the event that tells its outcome.

An operation never raises: it runs as a task that nobody waits for, so whatever goes wrong becomes that event.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable
from typing import assert_never

from llmux.server import _outcomes
from llmux.server._depth import KEPT
from llmux.server._hands import Life
from llmux.server._happenings import CheckpointRemoved, Happening
from llmux.server._meter import Meter
from llmux.server._model import (
    Asleep,
    Awake,
    Deepen,
    Draining,
    EndEngine,
    EngineLost,
    Event,
    Eviction,
    GoingToSleep,
    Process,
    PutToSleep,
    Running,
    SleepFailed,
    Slept,
    StartEngine,
    StartFailed,
    Wake,
    WakeEngine,
    WakeFailed,
    WakeKind,
    Weights,
)
from llmux.server._phases import Phases, phase, recorded
from llmux.server._record import Replica, Step, until_idle
from llmux.server._takes import sleep_of, wake_of
from llmux.server.errors import EngineGone, EvictionRefused, Problem, ServerError, StartRefused

log = logging.getLogger(__name__)

DUMPS_AT_ONCE = 4
"""Engines that are written to disk together: more would only freeze each other for longer."""

Operation = StartEngine | PutToSleep | Deepen | WakeEngine | EndEngine


class Operations:
    """What the driver runs as tasks, one after another per replica."""

    def __init__(
        self,
        feed: Callable[[Replica, Event], None],
        watch: Callable[[Replica, Life], None],
        meter: Meter,
        tell: Callable[[Happening], None],
        grounded: Callable[[Replica], Problem | None] = lambda _: None,
    ) -> None:
        """`feed` takes the outcome; `watch` has `until_lost` run for an engine that has come to serve.

        `tell` tells those who look on how it went; `grounded` says why a replica's engine cannot run at all.
        """
        self._grounded = grounded
        self._tell = tell
        self._meter = meter
        self._feed = feed
        self._watch = watch
        self._dumping = asyncio.Semaphore(DUMPS_AT_ONCE)

    async def run(self, replica: Replica, operation: Operation) -> None:
        """Do what a move of the machine asks for."""

        def begun(name: str) -> None:
            replica.step = Step(name, time.monotonic()) if name else None

        with recorded(begun) as phases:
            match operation:
                case StartEngine(why):
                    await self.start(replica, why, phases)
                case PutToSleep(eviction):
                    await self.put_to_sleep(replica, eviction, phases)
                case Deepen(eviction, to):
                    await self.deepen(replica, eviction, to, phases)
                case WakeEngine(eviction):
                    await self.wake(replica, eviction, phases)
                case EndEngine():
                    await self.end(replica)
                case _:
                    assert_never(operation)

    async def start(self, replica: Replica, why: str, phases: Phases) -> None:
        """Start the engine cold, for the reason `why`."""
        began = phases.since
        try:
            await self.end(replica)
            self._check_gpus(replica)
            life = await replica.hands.cold_start()
        except Exception as error:  # noqa: BLE001 - a task's boundary
            problem = self._problem(replica, "cold start", error)
            self._tell(_outcomes.wake_failed(replica, WakeKind.COLD_START, began, problem))
            self._feed(replica, StartFailed(problem))
        else:
            self._serve(replica, life, _wake(WakeKind.COLD_START, began, why), phases)
            await self._measure(replica, life, wake_of(Process.STOP), began, phases)

    async def wake(self, replica: Replica, eviction: Eviction, phases: Phases) -> None:
        """Bring the engine back from a sleep that left its process running, or from its checkpoint."""
        began = phases.since
        kind = WakeKind.WARM if replica.life else WakeKind.RESTORED
        try:
            self._check_gpus(replica)
            if replica.life:
                with phase("wake"):
                    await replica.life.resume(eviction.weights)
                wake = _wake(kind, began)
                self._tell(_outcomes.wake_done(replica, wake, phases))
                self._feed(replica, Awake(wake))
                await self._measure(replica, replica.life, wake_of(eviction.process), began, phases)
                return
            life, replica.stored = await replica.hands.restore()
        except Exception as error:  # noqa: BLE001 - a task's boundary
            problem = self._problem(replica, "wake", error)
            self._tell(_outcomes.wake_failed(replica, kind, began, problem))
            self._feed(replica, WakeFailed(problem))
        else:
            self._serve(replica, life, _wake(kind, began), phases)
            if replica.stored is None:
                self._forgotten(replica, "it has been woken from, and keep_images is false")
            await self._measure(replica, life, wake_of(Process.CHECKPOINT), began, phases)

    async def put_to_sleep(self, replica: Replica, eviction: Eviction, phases: Phases) -> None:
        """Put the engine to sleep; where that fails, make it serve again."""
        began = phases.since
        escalated = isinstance(replica.state, GoingToSleep) and replica.state.failed is not None
        try:
            self._meter.weighed(replica, awake=await _memory_of(replica, _living(replica)))
            reused = await self._let_go(replica, _living(replica), eviction)
        except Exception as error:  # noqa: BLE001 - a task's boundary
            await self._take_back(replica, eviction, began, _problem(replica, "sleep", error))
        else:
            seconds = time.monotonic() - began
            self._meter.moved(replica, sleep_of(eviction.process), seconds, phases)
            done = _outcomes.sleep_done(replica, eviction, seconds, phases)
            self._tell(dataclasses.replace(done, reused=reused, escalated=escalated))
            self._feed(replica, Slept())
            await self._meter.keep()

    async def deepen(self, replica: Replica, eviction: Eviction, to: Eviction, phases: Phases) -> None:
        """Take a sleeping engine one rung deeper without waking it; where that fails, it sleeps on as it did."""
        began = phases.since
        try:
            await self._sink(replica, eviction, to)
        except Exception as error:  # noqa: BLE001 - a task's boundary
            problem = _problem(replica, "deeper sleep", error)
            lost = replica.life is not None and replica.life.ended
            self._tell(_outcomes.sleep_failed(replica, to, began, problem, lost=lost))
            self._feed(replica, EngineLost(problem) if lost else SleepFailed(problem))
        else:
            done = _outcomes.sleep_done(replica, to, time.monotonic() - began, phases)
            self._tell(dataclasses.replace(done, deepened=True))
            self._feed(replica, Slept())

    async def end(self, replica: Replica) -> None:
        """End what runs of the engine. Where this is cancelled, it is to be called again."""
        if replica.life:
            try:
                await replica.life.close()
            except (
                Exception
            ):  # a task's boundary: what comes next says if something of it is still in the way
                log.exception("%s: its engine could not be ended properly", replica.name)
            replica.life = None

    async def until_lost(self, replica: Replica, life: Life) -> None:
        """Tell the machine if this engine ends while no operation is at work on it."""
        why = await _ending(replica, life)
        await until_idle(replica)
        kept = isinstance(replica.state, Asleep) and replica.state.eviction.process in KEPT
        if replica.life is life and (kept or isinstance(replica.state, Running | Draining)):
            log.warning("%s: %s", replica.name, why)
            self._feed(replica, EngineLost(why))

    def _serve(self, replica: Replica, life: Life, wake: Wake, phases: Phases) -> None:
        replica.life = life
        self._watch(replica, life)
        self._tell(_outcomes.wake_done(replica, wake, phases))
        self._feed(replica, Awake(wake))
        because = f" ({wake.reason})" if wake.reason else ""
        log.info("%s: %s in %.2f s%s", replica.name, wake.kind, wake.seconds, because)

    async def _measure(self, replica: Replica, life: Life, move: str, began: float, phases: Phases) -> None:
        """Take note of a wake and of the memory that the engine has now; what cannot be seen is not known."""
        self._meter.moved(replica, move, time.monotonic() - began, phases)
        self._meter.weighed(replica, awake=await _memory_of(replica, life))
        await self._meter.keep()

    def _check_gpus(self, replica: Replica) -> None:
        """Raise the reason why its engine cannot run: to try would take until its time is over, and say less."""
        if why := self._grounded(replica):
            raise StartRefused(why.message, hint=why.hint)

    def _problem(self, replica: Replica, doing: str, error: Exception) -> Problem:
        """Return what went wrong: where a GPU of it is lost, that."""
        problem = _problem(replica, doing, error)
        return self._grounded(replica) or problem

    async def _let_go(self, replica: Replica, life: Life, eviction: Eviction) -> bool:
        """Return whether a checkpoint that was there serves again."""
        began = time.monotonic()
        match eviction.process:
            case Process.KEEP_RUNNING:
                with phase("engine_sleep"):
                    await life.quieten(eviction.weights)
                self._meter.weighed(replica, asleep=await _memory_of(replica, life))
                if eviction.weights is not Weights.RETAIN:
                    self._meter.weighed(replica, on_gpu=await life.gpu_memory())
            case Process.CHECKPOINT:
                if reused := await replica.hands.reusable(life, eviction):
                    log.info("%s: its checkpoint %d is used again", replica.name, reused.generation)
                    replica.stored = reused
                    replica.checkpoint_problem = None
                    self._tell(_outcomes.reused(replica, reused))
                    await self.end(replica)
                    return True
                with phase("engine_sleep"):
                    await life.quieten(eviction.weights)
                await self._to_disk(replica, life, eviction, began)
            case Process.STOP:
                with phase("end"):
                    await life.put_by()
                    await self.end(replica)
            case Process.CUDA_SUSPEND:
                with phase("engine_sleep"):
                    await life.quieten(eviction.weights)
                await self._suspend(replica, life, eviction)
            case _:
                assert_never(eviction.process)
        return False

    async def _suspend(self, replica: Replica, life: Life, eviction: Eviction) -> None:
        with phase("cuda_suspend"):
            await life.suspend(eviction.weights)
        self._meter.weighed(replica, asleep=await _memory_of(replica, life))

    async def _to_disk(self, replica: Replica, life: Life, eviction: Eviction, began: float) -> None:
        async with self._dumping:
            with phase("dump"):
                replica.stored = await replica.hands.dump(life, eviction, began)
        self._tell(_outcomes.made(replica, replica.stored))
        self._meter.weighed(replica, disk=replica.stored.size_bytes)
        replica.checkpoint_problem = None
        with phase("end"):
            await self.end(replica)

    async def _sink(self, replica: Replica, eviction: Eviction, to: Eviction) -> None:
        match to.process:
            case Process.CHECKPOINT:
                await self._to_disk(replica, _living(replica), to, time.monotonic())
            case Process.STOP:
                if replica.life and eviction.process is Process.KEEP_RUNNING:
                    await replica.life.put_by()
                await self.end(replica)
                if eviction.process is Process.CHECKPOINT:
                    await replica.hands.forget()
                    replica.stored = None
                    self._forgotten(replica, "it sleeps deeper, and starts cold")
            case Process.CUDA_SUSPEND if eviction.process is Process.KEEP_RUNNING:
                await self._suspend(replica, _living(replica), to)
            case Process.KEEP_RUNNING | Process.CUDA_SUSPEND:
                raise EvictionRefused(f"{to} is no deeper than {eviction}")
            case _:
                assert_never(to.process)

    def _forgotten(self, replica: Replica, why: str) -> None:
        self._tell(CheckpointRemoved(model=replica.model, replica=replica.name, why=why))

    async def _take_back(self, replica: Replica, eviction: Eviction, began: float, problem: Problem) -> None:
        try:
            await _living(replica).resume(eviction.weights)
        except Exception as error:  # noqa: BLE001 - a task's boundary: the engine is lost then
            more = _problem(replica, "wake after the failed sleep", error)
            lost = Problem(problem.code, f"{problem.message}; and then {more.message}", problem.hint)
            self._tell(_outcomes.sleep_failed(replica, eviction, began, lost, lost=True))
            self._feed(replica, EngineLost(lost))
        else:
            self._tell(_outcomes.sleep_failed(replica, eviction, began, problem, lost=False))
            self._feed(replica, SleepFailed(problem))


async def _ending(replica: Replica, life: Life) -> Problem:
    try:
        return await life.wait()
    except Exception as error:  # noqa: BLE001 - a task's boundary: an engine that cannot be watched is as good as lost
        return _problem(replica, "watching the engine", error)


async def _memory_of(replica: Replica, life: Life) -> int | None:
    try:
        return await life.memory()
    except OSError as error:
        log.warning("%s: its memory cannot be measured: %s", replica.name, error)
        return None


def _living(replica: Replica) -> Life:
    if replica.life is None or replica.life.ended:
        raise EngineGone(replica.name)
    return replica.life


def _wake(kind: WakeKind, began: float, reason: str = "") -> Wake:
    return Wake(kind, time.monotonic() - began, time.time(), reason)


def _problem(replica: Replica, doing: str, error: Exception) -> Problem:
    """Return what went wrong as a value; log what nobody foresaw with its traceback."""
    match error:
        case ServerError():
            problem = error.problem()
        case _:
            log.error("%s: %s failed unforeseen", replica.name, doing, exc_info=error)
            message = f"{doing} failed: {type(error).__name__}: {error}"
            problem = Problem("internal_error", message, "See llmux's log")
    log.warning("%s: %s failed: %s", replica.name, doing, problem)
    return problem
