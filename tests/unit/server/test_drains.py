"""A drain's time: whether it runs, and what the machine is told when it is over."""

from __future__ import annotations

import asyncio
from types import MappingProxyType

import pytest

from llmux.server._drains import Drains
from llmux.server._record import Gone
from llmux.server._rules import AfterDrain


@pytest.fixture
def over(make_driver, make_hands):
    """Give a function that lets a drain of no time pass, and returns what the machine was told."""

    async def run(then, *, stopping=False, becomes=None, stop=False):
        driver = make_driver({"m": make_hands(drain_timeout=0.0)}, then=then)
        (replica,) = driver.replicas
        replica.becomes = becomes
        told = []
        drains = Drains(
            MappingProxyType(driver.models), lambda _replica, event: told.append(event), lambda: stopping
        )
        drains.begin(replica)
        if stop:
            drains.stop(replica)
        await asyncio.sleep(0.01)
        assert replica.drain_timer is None
        return told

    return run


async def test_a_drain_that_waits_has_no_end(over):
    assert await over(AfterDrain.WAIT) == []


async def test_one_that_is_stopped_tells_nothing(over):
    assert await over(AfterDrain.END, stop=True) == []


async def test_the_sleep_is_given_up_only_where_the_engine_may_serve_on(over):
    def given_up(told):
        return [each.give_up for each in told]

    assert given_up(await over(AfterDrain.GIVE_UP)) == [True]
    assert given_up(await over(AfterDrain.END)) == [False]
    assert given_up(await over(AfterDrain.GIVE_UP, stopping=True)) == [False]
    assert given_up(await over(AfterDrain.GIVE_UP, becomes=Gone())) == [False]


async def test_the_reason_has_how_many_were_still_answered(over):
    (told,) = await over(AfterDrain.END)
    assert told.problem.code == "drain_timeout"
    assert "0 requests" in told.problem.message
