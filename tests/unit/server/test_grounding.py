"""Engines on a GPU that is lost: none is tried there, and whoever is moved there later is refused too."""

from __future__ import annotations

import pytest

from llmux.server._capacity import gpu_memory
from llmux.server._model import Failed, Running
from llmux.server._rules import Sizes
from llmux.server.errors import ModelUnavailable, Problem

LOST = Problem("gpu_lost", "GPU 0 is lost: a test", "reset it")


@pytest.fixture
async def driver(make_driver, make_hands):
    """Give a driver of two models that are on no GPU yet."""
    driver = make_driver({"m": make_hands(), "n": make_hands()})
    await driver.open()
    yield driver
    await driver.close()


def replica(driver, name):
    return driver.models[name].replicas[0]


async def test_no_start_is_tried_and_the_reason_is_the_gpus(driver):
    replica(driver, "m").sizes = Sizes({gpu_memory(0): 1})
    driver.grounding.ground(0, LOST)
    with pytest.raises(ModelUnavailable) as refused:
        await driver.wake("m")
    assert refused.value.cause == LOST
    assert replica(driver, "m").hands.lives == []
    assert isinstance(replica(driver, "m").state, Failed)
    await driver.wake("n")


async def test_a_model_that_comes_to_be_there_is_refused_as_well(driver):
    driver.grounding.ground(0, LOST)
    await driver.wake("n")
    replica(driver, "n").sizes = Sizes({gpu_memory(0): 1})
    assert driver.grounding.why(replica(driver, "n")) == LOST
    assert isinstance(replica(driver, "n").state, Running)


async def test_once_it_is_back_failures_are_forgotten(driver):
    replica(driver, "m").sizes = Sizes({gpu_memory(0): 1})
    driver.grounding.ground(0, LOST)
    for _ in range(3):
        with pytest.raises(ModelUnavailable):
            await driver.wake("m")
    driver.grounding.release(0)
    assert replica(driver, "m").state.failures == 0
    async with driver.admit("m") as admission:
        assert admission.life


async def test_what_only_uses_the_gpu_is_found_where_it_was_seen(driver):
    driver.grounding.seen = {"n": {0}}
    assert [each.name for each in driver.grounding._on(0)] == ["n"]
    assert driver.grounding.why(replica(driver, "n")) is None
