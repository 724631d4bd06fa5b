"""Engines that serve and do not: which are found, and which are left alone."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from llmux.server import _vigil
from llmux.server._model import Asleep, Failed, Running

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own


@asynccontextmanager
async def running(driver):
    """Open a driver, have its model `m` serve, and give the replica."""
    await driver.open()
    try:
        await driver.wake("m")
        yield driver.models["m"].replicas[0]
    finally:
        await driver.close()


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(_vigil, "LOOK_EVERY", 0.001)
    monkeypatch.setattr(_vigil, "QUIET", 0.01)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the driver has no event for every state
            await asyncio.sleep(0.001)


async def test_an_engine_that_hangs_with_a_request_in_flight_is_found_without_being_told_of(
    make_driver, make_hands, hasty
):
    driver = make_driver({"m": make_hands()})
    async with running(driver) as replica, driver.admit("m") as admission:
        replica.life.deaf = True
        cut = await admission.cut
        assert cut.engine_lost
        assert cut.problem.message == "the engine hangs: no answer"
        assert isinstance(replica.state, Failed)


async def test_an_engine_that_brings_nothing_for_a_while_and_is_healthy_is_left_alone(
    make_driver, make_hands, hasty
):
    driver = make_driver({"m": make_hands()})
    async with running(driver) as replica, driver.admit("m"):
        await asyncio.sleep(0.05)
        assert isinstance(replica.state, Running)


async def test_nothing_is_asked_of_engines_that_rest_or_idle(make_driver, make_hands, hasty):
    driver = make_driver({"m": make_hands()})
    async with running(driver) as replica:
        replica.life.deaf = True
        await asyncio.sleep(0.03)
        assert isinstance(replica.state, Running)
        await driver.sleep("m")
        await asyncio.sleep(0.03)
        assert isinstance(replica.state, Asleep)


async def test_a_busy_moment_is_not_an_engines_end(make_driver, make_hands):
    driver = make_driver({"m": make_hands()})
    async with running(driver) as replica, driver.admit("m") as admission:
        answers = iter(["no answer", ""])

        async def fault():
            return next(answers)

        replica.life.fault = fault
        await driver.suspect(admission, silent=False)
        assert isinstance(replica.state, Running)


async def test_one_whose_answers_all_stop_is_lost_however_healthy_it_says_it_is(make_driver, make_hands):
    driver = make_driver({"m": make_hands()}, stall=0.01)
    async with running(driver) as replica, driver.admit("m") as admission:
        await asyncio.sleep(0.02)
        await driver.suspect(admission, silent=True)
        assert isinstance(replica.state, Running)
        await driver.suspect(admission, silent=True)
        assert "2 answers have stopped" in replica.state.why.message


async def test_any_byte_in_between_speaks_for_it(make_driver, make_hands):
    driver = make_driver({"m": make_hands()}, stall=0.01)
    async with running(driver) as replica, driver.admit("m") as admission:
        for _ in range(3):
            await asyncio.sleep(0.02)
            await driver.suspect(admission, silent=True)
            admission.heard()
        await driver.suspect(admission, silent=True)  # another had its byte just now
        assert isinstance(replica.state, Running)


async def test_many_who_suspect_one_have_it_examined_once(make_driver, make_hands):
    hands = make_hands()
    driver = make_driver({"m": hands})
    async with running(driver) as replica, driver.admit("m") as admission:
        hands.gates["fault"] = asyncio.Event()
        replica.life.deaf = True
        first, second = (driver.suspect(admission, silent=False) for _ in range(2))
        assert first is second
        hands.gates["fault"].set()
        await first
        assert isinstance(replica.state, Failed)


async def test_an_engine_that_went_to_sleep_meanwhile_is_not_lost(make_driver, make_hands):
    hands = make_hands()
    driver = make_driver({"m": hands})
    async with running(driver) as replica:
        async with driver.admit("m") as admission:
            hands.gates["fault"] = asyncio.Event()
            replica.life.deaf = True
            examined = driver.suspect(admission, silent=False)
        await driver.sleep("m")
        hands.gates["fault"].set()
        await examined
        assert isinstance(replica.state, Asleep)
