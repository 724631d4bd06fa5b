"""The loop that owns all tasks: lets requests wait and go, feeds events into each replica's machine, carries effects out.

Everything here runs in one event loop, and `_feed` never awaits, so a state, the requests that it counts and the
effects of a move always agree. Operations are tasks, one after another per replica. Which replica sleeps and which
wakes is the scheduler's to decide; the driver only tells it that something has changed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import assert_never

from llmux.server import _moves
from llmux.server._admission import Admissions
from llmux.server._bus import Bus
from llmux.server._depth import deep_enough, deeper_than
from llmux.server._drains import Drains
from llmux.server._finding import adopt, look
from llmux.server._grounding import Grounding
from llmux.server._hands import Life
from llmux.server._machine import step
from llmux.server._meter import Meter
from llmux.server._model import (
    Asleep,
    CutInFlight,
    Deepen,
    DeepenAsked,
    Deepening,
    DrainTimedOut,
    Effect,
    EndEngine,
    EngineLost,
    Event,
    Eviction,
    Failed,
    Pardoned,
    PutToSleep,
    RefuseWaiting,
    RememberWake,
    Running,
    SleepAsked,
    SleepFailed,
    Slept,
    StartDrainTimer,
    StartEngine,
    State,
    StopDrainTimer,
    WakeAsked,
    WakeEngine,
    name_of,
)
from llmux.server._operations import Operation, Operations
from llmux.server._queue import Admission, Caller, Errand, Place
from llmux.server._record import Model, Moved, Replica
from llmux.server._renewal import Renewals
from llmux.server._request_log import outside_requests
from llmux.server._scheduler import NodeStatus, Scheduler
from llmux.server._vigil import Vigil
from llmux.server.errors import (
    EvictionRefused,
    IllegalMove,
    ModelUnavailable,
    Problem,
    UnknownModel,
)
from llmux.server.scheduling import snapshot
from llmux.server.scheduling.snapshot import Action, Amounts, Policy

log = logging.getLogger(__name__)

_STOPPING = Problem("stopping", "llmux is stopping")


class Driver:
    """All models. Make it, `await open()`, and in the end `await close()`."""

    def __init__(
        self,
        models: Iterable[Model],
        policy: Policy,
        capacity: Amounts,
        max_waiting: int = 10_000,
        meter: Meter | None = None,
    ) -> None:
        """`capacity` is what the node has for the models; `max_waiting` bounds the requests that wait for any of them."""
        self.models = {model.name: model for model in models}
        """Those that depart included."""
        self.bus = Bus()
        self._scheduler = Scheduler(self.models, policy, capacity, self._act, self._refuse_hopeless)
        self.orders = self._scheduler.orders
        self._admissions = Admissions(self.models, self._scheduler, self._feed, max_waiting)
        self.meter = meter or Meter()
        self.grounding = Grounding(self.models, self._feed, self.spawn)
        self._operations = Operations(
            self._feed, self._watch, self.meter, self.bus.publish, self.grounding.why
        )
        self._vigil = Vigil(self.models, self._feed, self.spawn)
        self._drains = Drains(self.models, self._feed, lambda: self._stopping)
        self._renewals = Renewals(self.models, self._feed, self.spawn, self.changed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def node(self) -> NodeStatus:
        """Return what the node has, who holds it, and what its policy promises."""
        return self._scheduler.node()

    def outlook(self, name: str) -> float:
        """Estimate the seconds until a model serves."""
        return self._scheduler.outlook(name)

    @property
    def replicas(self) -> Iterable[Replica]:
        """Return every model's replicas."""
        return (replica for model in self.models.values() for replica in model.replicas)

    async def open(self) -> None:
        """Look for engines that an earlier llmux left, and for checkpoints; start what is to run without a request."""
        await self.meter.open(self.replicas)
        with self._scheduler.held():  # none is woken that has not been looked for
            for replica in self.replicas:
                if not await adopt(replica, self._feed, self._watch):
                    await look(replica, self._feed)
        self.spawn(self._vigil.keep())

    @property
    def stopping(self) -> bool:
        """Say whether llmux ends: nobody is admitted any more."""
        return self._stopping

    def refuse_all(self) -> None:
        """Admit nobody any more, wake nobody, and refuse whoever waits; what runs goes on."""
        self._stopping = True
        self._scheduler.close()
        for model in self.models.values():
            self._admissions.refuse(model, _STOPPING)

    async def close(self) -> None:
        """End every operation and every engine; refuse whoever waits, cut off who is answered. May be called again."""
        self.refuse_all()
        for replica in self.replicas:
            self._drains.stop(replica)
            replica.settle(_STOPPING)
            replica.cut(CutInFlight(_STOPPING))
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._operations.end(replica) for replica in self.replicas))

    def admit(
        self,
        name: str,
        place: Place | None = None,
        caller: Caller | None = None,
        *,
        replica: str | None = None,
        priority: int = 0,
    ) -> AbstractAsyncContextManager[Admission]:
        """Give an engine that serves the model to one request, having had one started or woken if need be.

        `place` is where a request waits that had been admitted before; `caller` says whose it is, `replica` whose it is to be, if that one
        serves; `priority` is added to the model's.
        Raises UnknownModel, QueueFull, RequestTimedOut, and ModelUnavailable where the model cannot be had.
        """
        model = self.find(name)
        if self._stopping:
            raise ModelUnavailable(name, _STOPPING)
        return self._admissions.admit(model, place, caller or Caller(), replica, priority)

    def cancel(self, request: str) -> Model:
        """End a request by its id, wherever it is; return the model that it was for. Raises UnknownRequest."""
        return self._admissions.cancel(request)

    def suspect(self, admission: Admission, *, silent: bool) -> asyncio.Task[None] | None:
        """Have the engine examined that a request was given to: it failed, or was `silent` until the answer's time was over.

        Return the examination; None where the engine has been given up already.
        """
        replica = next((each for each in self.replicas if each.life is admission.life), None)
        return self._vigil.suspect(replica, admission.life, silent=silent) if replica else None

    async def sleep(self, name: str, eviction: Eviction | None = None) -> Model:
        """Put a model to sleep as `eviction` says, or else at least as deep as configured; return once all its replicas sleep.

        One that sleeps so already sleeps on. Raises UnknownModel, EvictionRefused where this machine cannot do that, IllegalMove where no replica's state
        allows it, ModelUnavailable where a sleep failed.
        """
        model = self.find(name)
        if self._stopping:
            raise ModelUnavailable(name, _STOPPING)
        least = eviction or model.rules.eviction
        if refusal := model.replicas[0].hands.refusal(least):
            raise EvictionRefused(refusal)
        before, model.at_rest_by_hand = model.at_rest_by_hand, True
        asked = {each: eviction or deep_enough(each.state, least) for each in model.to_put_to_sleep()}
        for replica in asked:
            self.bus.publish(_moves.asked(replica, "sleep"))
        try:
            problems = await asyncio.gather(*(self.sleep_replica(*each) for each in asked.items()))
        except IllegalMove:  # it was not put to sleep: what wants it awake still does
            model.at_rest_by_hand = before
            raise
        for problem in problems:
            if problem:
                raise ModelUnavailable(name, problem)
        return model

    async def sleep_replica(self, replica: Replica, eviction: Eviction) -> Problem | None:
        """Put one replica to sleep, or one that sleeps deeper; return why that failed. Raises IllegalMove."""
        if isinstance(replica.state, Asleep) and deeper_than(eviction, replica.state.eviction):
            self._feed(replica, DeepenAsked(eviction))
        else:
            self._feed(replica, SleepAsked(eviction, busy=replica.is_busy))
        return None if isinstance(replica.state, Asleep) else await replica.until_asleep()

    async def wake(self, name: str, errand: Errand = Errand.WAKE) -> Model:
        """Bring a model to serve and return once it does: a wake is a request that asks nothing of the engine.

        To switch to it has whoever is in its way put to sleep, whatever the policy thinks of that.
        """
        model = self.find(name)
        self.bus.publish(_moves.asked(model.replicas[0], "wake"))
        for replica in model.replicas:
            if isinstance(replica.state, Failed):
                self._feed(replica, Pardoned())
        async with self.admit(name, caller=Caller(errand)):
            return model

    def set_mode(self, *, manual: bool) -> None:
        """Decide by policy, or by hand only: then those are refused who wait for a model that is not on its way."""
        self.orders.manual = manual
        self._admissions.heed_orders()
        self.changed()

    def find(self, name: str) -> Model:
        """Return the model of this name. Raises UnknownModel."""
        model = self.models.get(name)
        if model is None or model.departing:
            raise UnknownModel(name, tuple(self.served), hint="GET /v1/models lists the names")
        return model

    @property
    def served(self) -> Mapping[str, Model]:
        """Return the models that clients find."""
        return {name: model for name, model in self.models.items() if not model.departing}

    def change(
        self, models: Mapping[str, Model], policy: Policy | None, capacity: Amounts, max_waiting: int
    ) -> None:
        """Drive these models from now on, by another policy where one is given; replicas become what they are to be.

        Those that are not among them depart: nobody finds them any more, and they go once they are at rest.
        """
        departing = {name: model for name, model in self.models.items() if name not in models}
        self.models.clear()  # the same dictionary: others hold it
        self.models.update({**models, **departing})
        for model in departing.values():
            model.departing = True
        for model in departing.values():
            self._admissions.dismiss(model, tuple(self.served))
        self._admissions.limit(max_waiting)
        self._scheduler.change(policy, capacity)
        self._renewals.begin(each for each in self.replicas if each.becomes)

    def changed(self) -> None:
        """Have the scheduler look: what is said of a model is no longer what it was."""
        self.meter.tell()
        self._scheduler.poke()

    # ---- what the scheduler wants ----

    def _act(self, action: Action) -> None:
        replica = next(each for each in self.replicas if each.name == action.replica)
        rules = self.models[replica.model].rules
        for wish in _moves.decided(replica, self._scheduler.policy, action):
            self.bus.publish(wish)
        replica.last_move = Moved(type(action).__name__.lower(), action.why, time.time())
        match action:
            case snapshot.Wake():
                self._feed(replica, WakeAsked())
            case snapshot.Sleep():
                self._feed(replica, SleepAsked(rules.eviction, rules.escalation, replica.is_busy))
            case snapshot.Deepen():
                self._deepen(replica)
            case _:
                assert_never(action)

    def _deepen(self, replica: Replica) -> None:
        rules = self.models[replica.model].rules
        if isinstance(replica.state, Asleep) and (to := rules.deeper(replica.state.eviction)):
            self._feed(replica, DeepenAsked(to))

    def _refuse_hopeless(self, name: str, why: str) -> None:
        hint = "GET /control/status says why; ask again later"
        self._admissions.refuse(self.models[name], Problem("no_room", f"no room for {name}: {why}", hint))

    # ---- the machine ----

    def _feed(self, replica: Replica, event: Event) -> None:
        before = replica.state
        window = self.models[replica.model].rules.restart.window
        move = step(before, event, time.monotonic(), window)
        replica.state = move.state
        if type(move.state) is not type(before):
            log.info("%s: %s -> %s", replica.name, name_of(before), _moves.in_words(move.state))
        self._mark_time(replica, before)
        for happening in _moves.told(replica, before, event):
            self.bus.publish(happening)
        for effect in move.effects:
            self._carry_out(replica, effect)
        self._tell_sleepers(replica, event, move.state)
        if isinstance(move.state, Running) and not isinstance(before, Running):
            self._admissions.dispatch(self.models[replica.model])
        self._scheduler.poke()

    def _mark_time(self, replica: Replica, before: State) -> None:
        state, model = replica.state, self.models[replica.model]
        if isinstance(state, Asleep) and not isinstance(before, Asleep | Deepening):
            replica.asleep_since = state.since
        if isinstance(before, Running) and not any(
            isinstance(each.state, Running) for each in model.replicas
        ):
            model.turn_ended = state.since

    def _carry_out(self, replica: Replica, effect: Effect) -> None:
        match effect:
            case StartEngine() | PutToSleep() | Deepen() | WakeEngine() | EndEngine():
                self._begin(replica, effect)
            case StartDrainTimer():
                self._drains.begin(replica)
            case StopDrainTimer():
                self._drains.stop(replica)
            case CutInFlight():
                replica.cut(effect)
            case RefuseWaiting(problem):
                self._admissions.refuse_unless_served(self.models[replica.model], problem)
            case RememberWake(wake):
                replica.last_wake, replica.served_since = wake, replica.state.since
            case _:
                assert_never(effect)

    def _begin(self, replica: Replica, effect: Operation) -> None:
        if isinstance(effect, EndEngine):
            replica.flights.clear()
        operation = partial(self._operations.run, replica, effect)
        replica.operation = self.spawn(_after(replica.operation, operation))

    def _watch(self, replica: Replica, life: Life) -> None:
        self.spawn(self._operations.until_lost(replica, life))

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run something until it is done, or llmux ends."""
        task = asyncio.create_task(work, context=outside_requests())  # noqa: TID251 - the one place
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.critical("a task failed that never should: this is a fault of llmux", exc_info=error)

    def _tell_sleepers(self, replica: Replica, event: Event, state: State) -> None:
        match event:
            case Slept():
                replica.settle(None)
            case SleepFailed(problem) | DrainTimedOut(problem) if isinstance(state, Running | Asleep):
                replica.settle(problem)
            case EngineLost(problem):
                replica.settle(problem)
            case _:
                pass


async def _after(
    previous: asyncio.Task[None] | None, operation: Callable[[], Coroutine[None, None, None]]
) -> None:
    if previous and not previous.done():
        await asyncio.wait((previous,))
    await operation()
