"""The loop that owns all tasks: feeds events into each model's machine and carries the effects out.

Everything here runs in one event loop, and `_feed` never awaits, so a state, the requests that it counts and the
effects of a move always agree. Operations are tasks, one after another per model.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import assert_never

from llmux.server._hands import Hands, Life
from llmux.server._machine import step
from llmux.server._model import (
    AdmitHeld,
    Asleep,
    CheckpointFound,
    CheckpointUnusable,
    Draining,
    DrainTimedOut,
    Effect,
    EndEngine,
    EngineLost,
    Event,
    Eviction,
    Failed,
    Finished,
    NotStarted,
    PutToSleep,
    RefuseHeld,
    RememberWake,
    Requested,
    Running,
    SleepAsked,
    SleepFailed,
    Slept,
    StartDrainTimer,
    StartEngine,
    State,
    StopDrainTimer,
    WakeEngine,
    Withdrawn,
    name_of,
)
from llmux.server._operations import Operations
from llmux.server._places import Places
from llmux.server._record import Model, Ticket
from llmux.server.errors import EvictionRefused, ModelUnavailable, Problem, UnknownModel

log = logging.getLogger(__name__)

_STOPPING = Problem("stopping", "llmux is stopping")


class Driver:
    """All models. Make it, `await open()`, and in the end `await close()`."""

    def __init__(self, hands: Mapping[str, Hands], max_awake: int | None = None) -> None:
        """`hands` do each model's work, by its name; `max_awake` bounds how many may be awake together."""
        now = time.time()
        self.models: Mapping[str, Model] = {
            name: Model(name, each, NotStarted(since=now)) for name, each in hands.items()
        }
        self._places = Places(self.models, max_awake, lambda model: self._sleep(model, model.hands.eviction))
        self._operations = Operations(self._feed, self._places, self._watch)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def open(self) -> None:
        """Look for checkpoints: a model that has a valid one sleeps; nothing is started."""
        for model in self.models.values():
            found = await model.hands.find()
            if isinstance(found, Problem):
                model.checkpoint_problem = found
                log.warning("%s: no checkpoint that can be used: %s", model.name, found)
                self._feed(model, CheckpointUnusable(found))
            elif found:
                model.stored = found
                self._feed(model, CheckpointFound(found.eviction))

    async def close(self) -> None:
        """End every operation and every engine; refuse whoever waits. May be called again."""
        self._stopping = True
        for model in self.models.values():
            self._refuse_held(model, _STOPPING)
            self._stop_drain_timer(model)
            _settle(model, _STOPPING)
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._operations.end(model) for model in self.models.values()))

    @asynccontextmanager
    async def admit(self, name: str) -> AsyncIterator[Life]:
        """Give the serving engine to one request, having started or woken it where it was not serving.

        Raises UnknownModel, and ModelUnavailable where the model cannot be brought to serve.
        """
        model = self.find(name)
        if self._stopping:
            raise ModelUnavailable(name, _STOPPING)
        ticket = Ticket(asyncio.get_running_loop().create_future())
        model.held.append(ticket)
        model.last_used = time.time()
        self._feed(model, Requested())
        try:
            yield await ticket.admitted
        finally:
            self._give_back(model, ticket)

    async def sleep(self, name: str, eviction: Eviction | None = None) -> Model:
        """Put a model to sleep, as deep as configured or as `eviction` says; return once it sleeps.

        Raises UnknownModel, EvictionRefused where this machine cannot do that, IllegalMove where the model's state does
        not allow it, ModelUnavailable where the sleep failed.
        """
        model = self.find(name)
        if self._stopping:
            raise ModelUnavailable(name, _STOPPING)
        eviction = eviction or model.hands.eviction
        if refusal := model.hands.refusal(eviction):
            raise EvictionRefused(refusal)
        if problem := await self._sleep(model, eviction):
            raise ModelUnavailable(name, problem)
        return model

    async def wake(self, name: str) -> Model:
        """Bring a model to serve and return once it does: a wake is a request that asks nothing of the engine."""
        async with self.admit(name):
            return self.find(name)

    def find(self, name: str) -> Model:
        """Return the model of this name. Raises UnknownModel."""
        if name not in self.models:
            raise UnknownModel(name, tuple(self.models), hint="GET /v1/models lists the names")
        return self.models[name]

    def _give_back(self, model: Model, ticket: Ticket) -> None:
        model.last_used = time.time()
        if self._stopping:
            return
        if ticket in model.held:
            model.held.remove(ticket)
            self._feed(model, Withdrawn())
        elif ticket.life is model.life and isinstance(model.state, Running | Draining):
            self._feed(model, Finished())

    async def _sleep(self, model: Model, eviction: Eviction) -> Problem | None:
        self._feed(model, SleepAsked(eviction))
        if isinstance(model.state, Asleep):
            return None
        outcome: asyncio.Future[Problem | None] = asyncio.get_running_loop().create_future()
        model.sleepers.append(outcome)
        return await outcome

    def _feed(self, model: Model, event: Event) -> None:
        move = step(model.state, event, time.time())
        if type(move.state) is not type(model.state):
            log.info("%s: %s -> %s", model.name, name_of(model.state), _told(move.state))
        model.state = move.state
        if isinstance(event, Slept) or isinstance(model.state, Asleep | Failed):
            model.has_place = False
        for effect in move.effects:
            self._carry_out(model, effect)
        self._tell_sleepers(model, event)
        self._places.tell_change()

    def _carry_out(self, model: Model, effect: Effect) -> None:
        match effect:
            case StartEngine(why):
                self._begin(model, partial(self._operations.start, model, why))
            case PutToSleep(eviction):
                self._begin(model, partial(self._operations.put_to_sleep, model, eviction))
            case WakeEngine(eviction):
                self._begin(model, partial(self._operations.wake, model, eviction))
            case EndEngine():
                self._begin(model, partial(self._operations.end, model))
            case StartDrainTimer():
                loop = asyncio.get_running_loop()
                model.drain_timer = loop.call_later(model.hands.drain_timeout, self._drain_timed_out, model)
            case StopDrainTimer():
                self._stop_drain_timer(model)
            case AdmitHeld():
                self._admit_held(model)
            case RefuseHeld(problem):
                self._refuse_held(model, problem)
            case RememberWake(wake):
                model.last_wake = wake
            case _:
                assert_never(effect)

    def _begin(self, model: Model, operation: Callable[[], Coroutine[None, None, None]]) -> None:
        model.operation = self._spawn(_after(model.operation, operation))

    def _watch(self, model: Model, life: Life) -> None:
        self._spawn(self._operations.until_lost(model, life))

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)  # noqa: TID251 - the one place
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.critical("a task failed that never should: this is a fault of llmux", exc_info=error)

    def _admit_held(self, model: Model) -> None:
        for ticket in model.held:
            ticket.life = model.life
            if model.life and not ticket.admitted.done():
                ticket.admitted.set_result(model.life)
        model.held.clear()

    def _refuse_held(self, model: Model, problem: Problem) -> None:
        for ticket in model.held:
            if not ticket.admitted.done():
                ticket.admitted.set_exception(ModelUnavailable(model.name, problem))
        model.held.clear()

    def _drain_timed_out(self, model: Model) -> None:
        model.drain_timer = None
        count = model.state.in_flight if isinstance(model.state, Draining) else 0
        message = f"{count} requests were still being answered after {model.hands.drain_timeout:g} s"
        hint = "Ask again later, or raise timeouts.drain"
        self._feed(model, DrainTimedOut(Problem("drain_timeout", message, hint)))

    def _stop_drain_timer(self, model: Model) -> None:
        if model.drain_timer:
            model.drain_timer.cancel()
            model.drain_timer = None

    def _tell_sleepers(self, model: Model, event: Event) -> None:
        match event:
            case Slept():
                _settle(model, None)
            case SleepFailed(problem) | DrainTimedOut(problem) | EngineLost(problem):
                _settle(model, problem)
            case _:
                pass


def _settle(model: Model, outcome: Problem | None) -> None:
    """Tell those who wait for the end of the model's sleep."""
    for sleeper in model.sleepers:
        if not sleeper.done():
            sleeper.set_result(outcome)
    model.sleepers.clear()


async def _after(
    previous: asyncio.Task[None] | None, operation: Callable[[], Coroutine[None, None, None]]
) -> None:
    if previous and not previous.done():
        await asyncio.wait((previous,))
    await operation()


def _told(state: State) -> str:
    match state:
        case Asleep(eviction=eviction):
            return f"asleep ({eviction})"
        case _:
            return name_of(state)
