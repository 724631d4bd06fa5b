"""Replicas that are to be others, or to go: each comes to rest first, wherever it is, and nobody is kept from what he asks for."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from llmux.server._model import (
    Asleep,
    Deepening,
    Draining,
    Eviction,
    Failed,
    NotStarted,
    Process,
    Running,
    Starting,
    Waking,
    Weights,
)
from llmux.server._record import Anew, Gone

DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
STOP = Eviction(Weights.DISCARD, Process.STOP)
WARM = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own


@pytest.fixture
def driving(make_driver):
    @asynccontextmanager
    async def drive(**hands):
        driver = make_driver(hands)
        await driver.open()
        try:
            yield driver
        finally:
            await driver.close()

    return drive


@pytest.fixture(autouse=True)
def no_fault_of_llmux(caplog):
    yield
    assert not [each.message for each in caplog.records if each.levelno >= logging.CRITICAL]


def only(driver, name="m"):
    return driver.models[name].replicas[0]


def change(driver, gone=(), **anew):
    """Have models go, and the only replica of others become one with these hands at that port."""
    for name, (hands, port) in anew.items():
        only(driver, name).becomes = Anew(hands, port)
    for name in gone:
        only(driver, name).becomes = Gone()
    driver.change({name: each for name, each in driver.models.items() if name not in gone}, None, {}, 1000)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the driver has no event for every state
            await asyncio.sleep(0)


async def a_while():
    for _ in range(20):
        await asyncio.sleep(0)


async def serves(driver, name="m"):
    async with driver.admit(name) as admission:
        return admission.life


async def test_one_that_has_never_been_started_is_another_at_once(driving, make_hands, stored):
    new = make_hands(stored=stored)
    async with driving(m=make_hands()) as driver:
        change(driver, m=(new, 9001))
        await until(lambda: not only(driver).becomes)
        replica = only(driver)
        assert isinstance(replica.state, Asleep)
        assert (replica.hands, replica.port, replica.stored) == (new, 9001, stored)


@pytest.mark.parametrize("eviction", [DISK, WARM, STOP])
async def test_one_that_sleeps_is_another_without_having_been_woken(driving, make_hands, eviction):
    old, new = make_hands(eviction=eviction), make_hands()
    async with driving(m=old) as driver:
        await driver.wake("m")
        await driver.sleep("m")
        change(driver, m=(new, 9001))
        await until(lambda: not only(driver).becomes)
        assert isinstance(only(driver).state, NotStarted)
        assert [life.closed for life in old.lives] == [True]
        assert only(driver).last_wake is None
        assert (await serves(driver)) is new.lives[0]


@pytest.mark.parametrize("state", [Deepening, Waking, Draining])
async def test_one_on_its_way_arrives_first(driving, make_hands, state):
    old, new = make_hands(eviction=WARM), make_hands()
    async with driving(m=old) as driver:
        await driver.wake("m")
        gate = asyncio.Event()
        if state is not Draining:
            await driver.sleep("m")
        old.gates = {"dump": gate, "resume": gate, "quieten": gate}
        async with driver.admit("m") if state is Draining else asyncio.timeout(30):
            work = soon(driver.wake("m") if state is Waking else driver.sleep("m", DISK))
            await until(lambda: isinstance(only(driver).state, state))
            change(driver, m=(new, 9001))
            await a_while()
            assert isinstance(only(driver).state, state)
            assert not old.lives[0].closed
        gate.set()
        await work
        assert (await serves(driver)) is new.lives[0]
        assert old.lives[0].closed


async def test_one_that_has_failed_is_another_and_its_failures_are_forgotten(driving, make_hands):
    old, new = make_hands(broken={"cold_start"}), make_hands()
    async with driving(m=old) as driver:
        with pytest.raises(Exception, match="cold_start is broken"):
            await serves(driver)
        assert isinstance(only(driver).state, Failed)
        change(driver, m=(new, 9001))
        assert (await serves(driver)) is new.lives[0]
        assert only(driver).state.failures == 0


async def test_one_whose_engine_ends_while_it_drains_is_another_all_the_same(driving, make_hands):
    old, new = make_hands(), make_hands()
    async with driving(m=old) as driver:
        await driver.wake("m")
        async with driver.admit("m") as admission:
            change(driver, m=(new, 9001))
            await a_while()
            old.lives[0].die()
            assert (await admission.cut).engine_lost
        assert (await serves(driver)) is new.lives[0]


async def test_one_whose_engine_cannot_be_ended_properly_is_another_all_the_same(driving, make_hands):
    old, new = make_hands(broken={"close"}), make_hands()
    async with driving(m=old) as driver:
        await driver.wake("m")
        change(driver, m=(new, 9001))
        assert (await serves(driver)) is new.lives[0]


async def test_one_that_waits_for_its_port_takes_it_once_that_is_free(driving, make_hands):
    mine, others = make_hands(), make_hands()
    async with driving(m=make_hands(), other=make_hands()) as driver:
        only(driver, "other").port = 9001
        change(driver, m=(mine, 9001))
        held = soon(serves(driver))
        await a_while()
        assert only(driver).becomes
        assert not mine.lives
        change(driver, other=(others, 9002))
        assert (await held) is mine.lives[0]


async def test_one_that_waits_for_its_port_is_told_that_it_is_to_be_something_else(driving, make_hands):
    first, second = make_hands(), make_hands()
    async with driving(m=make_hands(), other=make_hands()) as driver:
        only(driver, "other").port = 9001
        change(driver, m=(first, 9001))
        await a_while()
        change(driver, m=(second, 9003))
        assert (await serves(driver)) is second.lives[0]
        assert not first.lives


async def test_one_that_waits_for_its_port_may_go(driving, make_hands):
    async with driving(m=make_hands(), other=make_hands()) as driver:
        only(driver, "other").port = 9001
        change(driver, m=(make_hands(), 9001))
        await a_while()
        change(driver, gone=["m"])
        await until(lambda: "m" not in driver.models)


async def test_one_that_waits_for_its_port_may_be_put_to_a_deeper_sleep_meanwhile(
    driving, make_hands, stored
):
    old, new = make_hands(stored=stored), make_hands()
    async with driving(m=old, other=make_hands()) as driver:
        only(driver, "other").port = 9001
        change(driver, m=(new, 9001))
        await a_while()
        old.gates["forget"] = asyncio.Event()
        deeper = soon(driver.sleep("m", STOP))
        await until(lambda: isinstance(only(driver).state, Deepening))
        change(driver, other=(make_hands(), 9002))
        await a_while()
        assert isinstance(only(driver).state, Deepening)
        old.gates["forget"].set()
        await deeper
        assert (await serves(driver)) is new.lives[0]


async def test_one_that_is_to_be_something_else_again_while_it_looks_for_its_checkpoint_is_the_last(
    driving, make_hands, stored
):
    first, last = make_hands(stored=stored), make_hands()
    looked, seen, gate = first.find, asyncio.Event(), asyncio.Event()

    async def slowly():
        seen.set()
        await gate.wait()
        return await looked()

    first.find = slowly
    async with driving(m=make_hands()) as driver:
        change(driver, m=(first, 9001))
        await seen.wait()
        change(driver, m=(last, 9002))
        gate.set()
        assert (await serves(driver)) is last.lives[0]
        assert (only(driver).port, only(driver).stored) == (9002, None)


@pytest.mark.parametrize("state", [NotStarted, Starting, Running, Asleep, Failed])
async def test_one_that_goes_leaves_from_every_state_and_nothing_of_it_stays(driving, make_hands, state):
    hands = make_hands(broken={"cold_start"} if state is Failed else set())
    async with driving(m=hands) as driver:
        asking = None
        if state is Starting:
            hands.gates["cold_start"] = asyncio.Event()
        if state is not NotStarted:
            asking = soon(serves(driver))
            if state is Starting:
                await until(lambda: isinstance(only(driver).state, Starting))
            else:
                await asyncio.wait((asking,))
        if state is Asleep:
            await driver.sleep("m")
        assert isinstance(only(driver).state, state)
        change(driver, gone=["m"])
        assert "m" not in driver.served
        if state is Starting:
            await a_while()
            hands.gates["cold_start"].set()
        await until(lambda: "m" not in driver.models)
        assert all(life.closed for life in hands.lives)
        if asking:
            await asyncio.wait((asking,))
            assert (asking.exception() is not None) == (state in {Starting, Failed})


async def test_one_of_two_replicas_goes_and_the_other_answers_on(driving, make_hands):
    first, second = make_hands(), make_hands()
    async with driving(m=[first, second]) as driver:
        model = driver.models["m"]
        model.rules = replace(model.rules, min_awake=2)
        async with driver.admit("m"):
            pass
        model.replicas[1].becomes = Gone()
        driver.change(dict(driver.models), None, {}, 1000)
        await until(lambda: len(model.replicas) == 1)
        assert (await serves(driver)) is model.replicas[0].life
        assert not model.replicas[0].life.closed
