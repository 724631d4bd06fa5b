"""What llmux finds of its models when it begins: engines left running, checkpoints, and nothing done with either too early."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest

from llmux.server._model import Asleep, Eviction, Failed, NotStarted, Process, Running, Starting, Weights
from llmux.server.errors import Problem

WARM = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
BROKEN = Problem("checkpoint_invalid", "an image is cut off", "The next sleep replaces it")


@asynccontextmanager
async def opened(driver):
    await driver.open()
    try:
        yield driver.models
    finally:
        await driver.close()


def only(models, name="m"):
    return models[name].replicas[0]


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the driver has no event for every state
            await asyncio.sleep(0)


async def test_where_there_is_nothing_nothing_is_said(make_driver, make_hands, caplog):
    async with opened(make_driver({"m": make_hands()})) as models:
        replica = only(models)
        assert isinstance(replica.state, NotStarted)
        assert (replica.stored, replica.checkpoint_problem, replica.life) == (None, None, None)
        assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


async def test_a_checkpoint_is_a_model_asleep(make_driver, make_hands, stored):
    async with opened(make_driver({"m": make_hands(stored=stored)})) as models:
        replica = only(models)
        assert isinstance(replica.state, Asleep)
        assert (replica.state.eviction, replica.stored) == (stored.eviction, stored)


async def test_a_checkpoint_that_cannot_be_used_is_told_in_the_log_the_status_and_by_the_next_start(
    make_driver, make_hands, caplog
):
    driver = make_driver({"m": make_hands(stored=BROKEN)})
    async with opened(driver) as models:
        replica = only(models)
        assert isinstance(replica.state, NotStarted)
        assert replica.checkpoint_problem == BROKEN
        assert "m: no checkpoint that can be used: an image is cut off" in caplog.text
        await driver.wake("m")
        assert "an image is cut off" in replica.last_wake.reason


@pytest.mark.parametrize(("left", "state"), [(None, Running), (WARM, Asleep)])
async def test_an_engine_that_was_left_is_taken_over_as_it_is_with_its_checkpoint(
    make_driver, make_hands, stored, left, state
):
    hands = make_hands(left=(left,), stored=stored)
    driver = make_driver({"m": hands})
    async with opened(driver) as models:
        replica = only(models)
        assert isinstance(replica.state, state)
        assert (replica.life, replica.stored) == (hands.lives[0], stored)
        async with driver.admit("m") as admission:
            assert admission.life is hands.lives[0]
        assert len(hands.lives) == 1


@pytest.mark.parametrize("left", [None, WARM])
async def test_one_that_was_left_and_ends_is_noticed(make_driver, make_hands, left):
    hands = make_hands(left=(left,))
    async with opened(make_driver({"m": hands})) as models:
        hands.lives[0].die()
        await until(lambda: isinstance(only(models).state, Failed))
        assert only(models).state.why.code == "engine_exited"


async def test_one_that_was_left_is_taken_over_though_its_checkpoint_is_broken_and_that_is_told(
    make_driver, make_hands, caplog
):
    hands = make_hands(left=(None,), stored=BROKEN)
    async with opened(make_driver({"m": hands})) as models:
        replica = only(models)
        assert isinstance(replica.state, Running)
        assert (replica.stored, replica.checkpoint_problem) == (None, BROKEN)
        assert "m: no checkpoint that can be used: an image is cut off" in caplog.text


@pytest.mark.parametrize("slow", ["adopt", "find"])
async def test_nothing_is_woken_before_all_has_been_looked_for(make_driver, make_hands, stored, slow):
    first, second = make_hands(left=(None,)), make_hands(stored=stored)
    looked = getattr(second, slow)

    async def after_a_while():
        for _ in range(5):
            await asyncio.sleep(0)
        return await looked()

    setattr(second, slow, after_a_while)
    async with opened(make_driver({"first": first, "second": second}, preload=True)) as models:
        replica = only(models, "second")
        assert not isinstance(replica.state, Starting)
        await until(lambda: isinstance(replica.state, Running))
        assert replica.last_wake.kind == "restored"
        assert len(first.lives) == 1
