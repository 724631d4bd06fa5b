"""A checkpoint that is removed by hand, whatever its replica does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from llmux.server._forgetting import forget
from llmux.server._happenings import CheckpointRemoved
from llmux.server._model import Asleep, NotStarted, Process, Running
from llmux.server.errors import IllegalMove, ModelUnavailable, Problem

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own


@pytest.fixture
def opened(make_driver, make_hands):
    @asynccontextmanager
    async def open_one(**fields):
        hands = make_hands(**fields)
        driver = make_driver({"m": hands})
        await driver.open()
        try:
            yield driver, driver.models["m"].replicas[0], hands
        finally:
            await driver.close()

    return open_one


async def test_one_that_sleeps_in_it_sleeps_deeper(opened, stored):
    async with opened(stored=stored) as (driver, replica, hands):
        await forget(driver, replica)
        assert isinstance(replica.state, Asleep)
        assert replica.state.eviction.process is Process.STOP
        assert (replica.stored, hands.stored) == (None, None)


async def test_one_that_serves_serves_on_and_those_who_look_on_are_told(opened, stored):
    async with opened(stored=stored) as (driver, replica, hands):
        await driver.wake("m")
        await forget(driver, replica)
        assert isinstance(replica.state, Running)
        assert (replica.stored, hands.stored) == (None, None)
        told = [each.happening for each in driver.bus.since(0)]
        assert [each.replica for each in told if isinstance(each, CheckpointRemoved)] == ["m"]


async def test_what_cannot_be_used_is_forgotten_too(opened):
    async with opened(stored=Problem("damaged", "cut short")) as (driver, replica, _):
        assert replica.checkpoint_problem
        await forget(driver, replica)
        assert isinstance(replica.state, NotStarted)
        assert replica.checkpoint_problem is None


async def test_what_is_under_way_is_not_disturbed(opened, stored):
    async with opened(stored=stored) as (driver, replica, hands):
        hands.gates["restore"] = asyncio.Event()
        waking = soon(driver.wake("m"))
        while isinstance(replica.state, Asleep):  # noqa: ASYNC110 - the driver has no event for every state
            await asyncio.sleep(0)
        with pytest.raises(IllegalMove, match="waking cannot lose its checkpoint"):
            await forget(driver, replica)
        hands.gates["restore"].set()
        await waking


async def test_a_removal_that_fails_says_why_and_it_sleeps_on(opened, stored):
    async with opened(stored=stored, broken={"forget"}) as (driver, replica, _):
        with pytest.raises(ModelUnavailable, match="forget is broken"):
            await forget(driver, replica)
        assert isinstance(replica.state, Asleep)
        assert replica.state.eviction.process is Process.CHECKPOINT


async def test_a_sleep_that_comes_meanwhile_is_done_after_it(opened, stored):
    async with opened(stored=stored) as (driver, replica, hands):
        await driver.wake("m")
        hands.gates["forget"] = asyncio.Event()
        removing = soon(forget(driver, replica))
        await asyncio.sleep(0)
        sleeping = soon(driver.sleep("m"))
        await asyncio.sleep(0)
        hands.gates["forget"].set()
        await asyncio.gather(removing, sleeping)
        assert replica.stored == stored
