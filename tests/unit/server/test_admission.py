"""A request's way: in and out of the queue, to which replica, and every way that it is told no."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from llmux.server._model import Draining, Failed, Running
from llmux.server._queue import Place
from llmux.server._rules import AfterDrain, Restart
from llmux.server.errors import ModelUnavailable, QueueFull, RequestTimedOut
from llmux.server.scheduling.snapshot import Wake

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own


@asynccontextmanager
async def opened(driver):
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the driver has no event for every state
            await asyncio.sleep(0)


async def admitted(driver, name="m"):
    async with driver.admit(name) as admission:
        return admission


async def test_a_request_knows_how_long_it_waited_and_for_what(make_driver, make_hands):
    async with opened(make_driver({"m": make_hands()})) as driver:
        first, second = await admitted(driver), await admitted(driver)
        assert (first.wake, second.wake) == ("cold", "warm")
        await driver.sleep("m")
        assert (await admitted(driver)).wake == "restored"
        assert first.queued >= second.queued >= 0


async def test_a_full_queue_lets_nobody_in(make_driver, make_hands):
    hands = make_hands(gates={"cold_start": asyncio.Event()})
    async with opened(make_driver({"m": hands}, max_waiting_each=2)) as driver:
        waiting = [soon(admitted(driver)) for _ in range(2)]
        await until(lambda: len(driver.models["m"].queue) == 2)
        with pytest.raises(QueueFull, match="2 requests wait already for it") as caught:
            await admitted(driver)
        assert caught.value.retry_after > 0
        assert "Retry-After" in caught.value.hint
        hands.gates["cold_start"].set()
        await asyncio.gather(*waiting)


async def test_the_queues_of_all_models_together_are_bounded(make_driver, make_hands):
    gate = asyncio.Event()
    hands = {name: make_hands(gates={"cold_start": gate}) for name in ("a", "b")}
    async with opened(make_driver(hands, max_waiting=2)) as driver:
        waiting = [soon(admitted(driver, name)) for name in hands]
        await until(lambda: all(len(model.queue) == 1 for model in driver.models.values()))
        with pytest.raises(QueueFull, match="the models of this node"):
            await admitted(driver, "a")
        gate.set()
        await asyncio.gather(*waiting)


async def test_who_need_not_wait_is_let_in_however_many_wait_for_others(make_driver, make_hands):
    asleep = make_hands(gates={"cold_start": asyncio.Event()})
    async with opened(make_driver({"serves": make_hands(), "starts": asleep}, max_waiting=1)) as driver:
        await admitted(driver, "serves")
        waiting = soon(admitted(driver, "starts"))
        await until(lambda: len(driver.models["starts"].queue) == 1)
        await admitted(driver, "serves")
        asleep.gates["cold_start"].set()
        await waiting


async def test_who_comes_back_is_let_in_to_its_place_however_full_it_is(make_driver, make_hands):
    hands = make_hands(gates={"cold_start": asyncio.Event()})
    async with opened(make_driver({"m": hands}, max_waiting_each=1)) as driver:
        order = []

        async def ask(name, place=None):
            async with driver.admit("m", place) as admission:
                order.append((name, round(admission.queued)))

        queue = driver.models["m"].queue
        waiting = [soon(ask("new"))]
        await until(lambda: len(queue) == 1)
        before = Place(queue.oldest - 60, queue.oldest - 60)
        waiting += [soon(ask("old", before)), soon(ask("behind", before.behind(time.monotonic())))]
        await until(lambda: len(queue) == 3)
        hands.gates["cold_start"].set()
        await asyncio.gather(*waiting)
        assert order == [("old", 60), ("new", 0), ("behind", 60)]


async def test_who_is_refused_is_told_when_to_come_again(make_driver, make_hands):
    hands = make_hands(broken={"cold_start"})
    async with opened(make_driver({"m": hands})) as driver:
        with pytest.raises(ModelUnavailable) as caught:
            await admitted(driver)
        assert caught.value.retry_after > 0


async def test_who_waits_too_long_is_told_and_forgotten(make_driver, make_hands):
    hands = make_hands(gates={"cold_start": asyncio.Event()})
    async with opened(make_driver({"m": hands}, request_timeout=0.02)) as driver:
        with pytest.raises(RequestTimedOut, match=r"within 0\.02 s: it is starting"):
            await admitted(driver)
        assert len(driver.models["m"].queue) == 0


async def test_requests_are_spread_over_the_replicas_that_serve(make_driver, make_hands):
    async with opened(make_driver({"m": [make_hands(), make_hands()]})) as driver:
        await driver.wake("m")
        second = driver.models["m"].replicas[1]
        driver._act(Wake(second.name, "the test wants it"))
        await until(lambda: isinstance(second.state, Running))
        async with driver.admit("m") as one, driver.admit("m") as other:
            assert {one.replica, other.replica} == {"m", "m@2"}


async def test_a_request_that_is_for_a_replica_goes_there_if_it_serves(make_driver, make_hands):
    async with opened(make_driver({"m": [make_hands(), make_hands()]})) as driver:
        await driver.wake("m")
        async with driver.admit("m", replica="m@2") as asleep:
            assert asleep.replica == "m"
        second = driver.models["m"].replicas[1]
        driver._act(Wake(second.name, "the test wants it"))
        await until(lambda: isinstance(second.state, Running))
        async with driver.admit("m", replica="m@2"), driver.admit("m", replica="m@2") as busy:
            assert busy.replica == "m@2"


async def test_a_replica_that_fails_to_start_takes_nobody_with_it_while_another_serves(
    make_driver, make_hands
):
    async with opened(make_driver({"m": [make_hands(), make_hands(broken={"cold_start"})]})) as driver:
        async with driver.admit("m"):
            second = driver.models["m"].replicas[1]
            driver._act(Wake(second.name, "the test wants it"))
            await until(lambda: isinstance(second.state, Failed))
        assert (await admitted(driver)).replica == "m"


async def test_a_model_that_has_failed_too_often_is_refused_until_it_is_woken_by_hand(
    make_driver, make_hands
):
    hands = make_hands(broken={"cold_start"})
    restart = Restart(limit=1, backoff=0.001)
    async with opened(make_driver({"m": hands}, restart=restart)) as driver:
        for _ in range(2):
            with pytest.raises(ModelUnavailable, match="cold_start is broken"):
                await admitted(driver)
        with pytest.raises(ModelUnavailable, match="failed 2 times in a row") as caught:
            await admitted(driver)
        assert "POST /control/wake" in caught.value.problem().hint
        hands.broken.clear()
        await driver.wake("m")
        assert (await admitted(driver)).wake == "warm"


async def test_after_a_second_failure_it_is_started_again_only_after_a_pause(make_driver, make_hands):
    hands = make_hands(broken={"cold_start"})
    async with opened(make_driver({"m": hands}, restart=Restart(backoff=0.05))) as driver:
        for _ in range(2):
            with pytest.raises(ModelUnavailable):
                await admitted(driver)
        waiting = soon(admitted(driver))
        await asyncio.sleep(0.01)
        assert isinstance(driver.models["m"].replicas[0].state, Failed)
        hands.broken.clear()
        assert (await waiting).wake == "cold"


async def test_answers_that_outlast_the_drain_are_cut_off_and_the_model_sleeps(make_driver, make_hands):
    hands = make_hands(drain_timeout=0.02)
    async with opened(make_driver({"m": hands}, then=AfterDrain.END)) as driver:
        async with driver.admit("m") as admission:
            sleeping = soon(driver.sleep("m"))
            cut = await admission.cut
            assert (cut.problem.code, cut.engine_lost) == ("drain_timeout", False)
            assert isinstance(driver.models["m"].replicas[0].state, Draining)
        await sleeping


async def test_a_drain_may_wait_without_bound(make_driver, make_hands):
    hands = make_hands(drain_timeout=0.0)
    async with opened(make_driver({"m": hands}, then=AfterDrain.WAIT)) as driver:
        async with driver.admit("m") as admission:
            sleeping = soon(driver.sleep("m"))
            await asyncio.sleep(0.02)
            assert not sleeping.done()
            assert not admission.cut.done()
        await sleeping


async def test_an_answer_that_is_still_held_when_the_next_engine_serves_is_not_counted_there(
    make_driver, make_hands
):
    async with opened(make_driver({"m": make_hands()})) as driver:
        async with driver.admit("m") as old:
            replica = driver.models["m"].replicas[0]
            replica.life.die()
            assert (await old.cut).engine_lost
            async with driver.admit("m") as new:
                assert new.life is not old.life
                assert len(replica.flights) == 1
        assert not replica.is_busy
