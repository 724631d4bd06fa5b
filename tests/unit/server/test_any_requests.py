"""Requests of any kind against replicas to which anything happens: each gets one outcome, and no count is ever wrong."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from llmux.server._model import Asleep, Draining, Failed, NotStarted, Running
from llmux.server._queue import Place
from llmux.server._rules import AfterDrain, Restart
from llmux.server.errors import ModelUnavailable, QueueFull, RequestTimedOut, StartRefused
from llmux.server.scheduling.snapshot import Decisions, Deepen, Sleep, Wake

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own
EACH, ALL = 3, 5
GATED = {"cold_start", "restore", "quieten", "dump", "resume"}


def nothing(_snapshot):
    """Decide nothing: the test itself wakes and puts to sleep."""
    return Decisions()


@dataclass(eq=False)
class Client:
    """One request; it comes back where its answer was cut off before it began, as the proxy does."""

    model: str
    begun: bool = False
    outcomes: list[str] = field(default_factory=list)
    given: set[str] = field(default_factory=set)
    """The replicas that it is in flight at."""
    answered: asyncio.Future[None] | None = None
    task: asyncio.Task[None] | None = None

    async def ask(self, driver, place):
        try:
            while place := await self._again(driver, place):
                pass
        except (QueueFull, RequestTimedOut, ModelUnavailable) as error:
            self.outcomes.append(type(error).__name__)
        except asyncio.CancelledError:
            self.outcomes.append("left")

    async def _again(self, driver, place):
        """Return where it waits once more; nothing where it has its outcome."""
        async with driver.admit(self.model, place) as admission:
            self.given.add(admission.replica)
            try:
                self.answered = asyncio.get_running_loop().create_future()
                await asyncio.wait((self.answered, admission.cut), return_when=asyncio.FIRST_COMPLETED)
            finally:
                self.given.remove(admission.replica)
            if self.answered.done() or self.begun:
                self.outcomes.append("answered" if self.answered.done() else "cut")
                return None
            lost = admission.cut.result().engine_lost
            return admission.place if lost else admission.place.behind(time.monotonic())


class AnyRequests(RuleBasedStateMachine):
    """Arrivals, leavings, answers, wakes, sleeps, failures, hangs and cuts, in any order."""

    def __init__(self, make_driver, make_hands) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.gates = {}
        hands = {"a": [self.gated(make_hands, "a"), self.gated(make_hands, "a@2")]}
        hands["b"] = self.gated(make_hands, "b")
        rules = {"restart": Restart(limit=2), "then": AfterDrain.END, "max_waiting_each": EACH}
        self.driver = make_driver(hands, policy=nothing, max_waiting=ALL, **rules)
        self.clients = []
        self.do(self.driver.open)

    def gated(self, make_hands, name):
        """Return hands whose steps wait until the test says how they end."""
        hands = make_hands(drain_timeout=1000.0)

        async def step(doing):
            if doing in GATED:
                self.gates[name] = asyncio.get_running_loop().create_future()
                if not await self.gates[name]:
                    raise StartRefused(f"{doing} is broken")

        hands.step = step
        return hands

    def do(self, work, *given, **named):
        """Do something in the loop, and let everything that follows from it happen."""

        async def settle():
            doing = work(*given, **named)
            if asyncio.iscoroutine(doing):
                await doing
            for _ in range(40):
                await asyncio.sleep(0)

        self.runner.run(settle())

    def replica(self, number):
        return list(self.driver.replicas)[number]

    def in_flight(self):
        return [each for each in self.clients if each.given]

    def arrive(self, model, place=None):
        client = Client(model)
        client.task = soon(client.ask(self.driver, place))
        self.clients.append(client)

    # ---- clients ----

    @rule(model=st.sampled_from("aab"))
    def comes(self, model):
        lengths = {name: len(each.queue) for name, each in self.driver.models.items()}
        served = any(isinstance(each.state, Running) for each in self.driver.models[model].replicas)
        self.do(self.arrive, model)
        full = lengths[model] >= EACH or sum(lengths.values()) >= ALL
        refused = "QueueFull" in self.clients[-1].outcomes
        assert refused == (full and not self.clients[-1].given)
        assert not (served and lengths[model])

    @rule(model=st.sampled_from("ab"), seldom=st.integers(0, 4))
    def comes_too_late(self, model, seldom):
        if seldom:
            return
        served = any(isinstance(each.state, Running) for each in self.driver.models[model].replicas)
        long_ago = time.monotonic() - 1000
        self.do(self.arrive, model, Place(long_ago, long_ago))
        assert served or self.clients[-1].outcomes

    @precondition(lambda self: any(not each.outcomes for each in self.clients))
    @rule(data=st.data())
    def leaves(self, data):
        client = data.draw(st.sampled_from([each for each in self.clients if not each.outcomes]))
        self.do(client.task.cancel)
        assert client.outcomes == ["left"]

    @precondition(lambda self: self.in_flight())
    @rule(data=st.data())
    def begins(self, data):
        data.draw(st.sampled_from(self.in_flight())).begun = True

    @precondition(lambda self: self.in_flight())
    @rule(data=st.data())
    def is_answered(self, data):
        client = data.draw(st.sampled_from(self.in_flight()))
        self.do(client.answered.set_result, None)
        assert client.outcomes == ["answered"]

    # ---- replicas ----

    @rule(number=st.integers(0, 2))
    def woken(self, number):
        if isinstance(self.replica(number).state, NotStarted | Asleep | Failed):
            self.do(self.driver._act, Wake(self.replica(number).name, "the test wants it"))

    @rule(number=st.integers(0, 2))
    def serves(self, number):
        self.woken(number=number)
        self.step_ends(name=self.replica(number).name, good=True)

    @rule(number=st.integers(0, 2))
    def put_to_sleep(self, number):
        if isinstance(self.replica(number).state, Running):
            self.do(self.driver._act, Sleep(self.replica(number).name, "the test wants it"))

    @rule(number=st.integers(0, 2))
    def deepened(self, number):
        if isinstance(self.replica(number).state, Asleep):
            self.do(self.driver._act, Deepen(self.replica(number).name, "the test wants it"))

    @rule(name=st.sampled_from(["a", "a@2", "b"]), good=st.sampled_from([True, True, False]))
    def step_ends(self, name, good):
        gate = self.gates.pop(name, None)
        if gate and not gate.done():
            self.do(gate.set_result, good)

    @rule(number=st.integers(0, 2))
    def drain_is_over(self, number):
        if self.replica(number).drain_timer:
            self.driver._drains.stop(self.replica(number))
            self.do(self.driver._drains.time_is_over, self.replica(number))

    @rule(number=st.integers(0, 2))
    def dies(self, number):
        if self.replica(number).life:
            self.do(self.replica(number).life.die)

    @rule(number=st.integers(0, 2))
    def hangs(self, number):
        replica = self.replica(number)
        if replica.life:
            replica.life.deaf = True
            self.do(self.driver._vigil.suspect, replica, replica.life, silent=False)

    # ---- what always holds ----

    @invariant()
    def each_request_is_in_one_place(self):
        for client in self.clients:
            assert len(client.outcomes) + len(client.given) <= 1
            assert client.task.done() == bool(client.outcomes)
        waiting = sum(not each.outcomes and not each.given for each in self.clients)
        assert waiting == sum(len(each.queue) for each in self.driver.models.values())

    @invariant()
    def counts_agree(self):
        for replica in self.driver.replicas:
            given = sum(replica.name in each.given for each in self.clients)
            assert len(replica.flights) == given
            assert not given or isinstance(replica.state, Running | Draining)
            assert given or not isinstance(replica.state, Draining)

    @invariant()
    def nobody_waits_while_one_serves(self):
        for model in self.driver.models.values():
            if any(isinstance(each.state, Running) for each in model.replicas):
                assert not model.queue

    def teardown(self):
        self.do(self.driver.close)
        try:
            assert all(len(each.outcomes) == 1 for each in self.clients)
            assert not any(each.flights for each in self.driver.replicas)
        finally:
            self.runner.close()


def test_any_requests_and_replicas(make_driver, make_hands):
    run_state_machine_as_test(
        lambda: AnyRequests(make_driver, make_hands),
        settings=settings(max_examples=60, stateful_step_count=50, deadline=None),
    )
