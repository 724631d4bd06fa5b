"""What a driver's moves tell those who look on: states, sleeps and wakes, decisions, checkpoints, engines that are lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from llmux.server import _happenings as h
from llmux.server._model import Eviction, Failed, Process, WakeKind, Weights
from llmux.server.errors import ModelUnavailable
from llmux.server.scheduling.snapshot import Sleep

DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
WARM = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
STOP = Eviction(Weights.DISCARD, Process.STOP)


@pytest.fixture
def watching(make_driver):
    """Give a function that opens a driver of one model with these hands, and what it tells."""

    @asynccontextmanager
    async def opened(hands, **rules):
        driver, told = make_driver({"m": hands}, **rules), []
        with driver.bus.subscribed(lambda entry: told.append(entry.happening)):
            await driver.open()
            yield driver, told
            await driver.close()

    return opened


def of(told, kind):
    return [each for each in told if isinstance(each, kind)]


async def test_a_sleep_to_disk_and_back_is_told_step_by_step(watching, make_hands, stored):
    async with watching(make_hands()) as (driver, told):
        await driver.wake("m")
        await driver.sleep("m", DISK)
        await driver.wake("m")
        changes = [(each.before, each.after, each.cause) for each in of(told, h.StateChanged)]
        assert changes == [
            ("not_started", "starting", "WakeAsked"),
            ("starting", "running", "Awake"),
            ("running", "going_to_sleep", "SleepAsked"),
            ("going_to_sleep", "asleep", "Slept"),
            ("asleep", "waking", "WakeAsked"),
            ("waking", "running", "Awake"),
        ]
        assert [each.wake for each in of(told, h.WakeDone)] == [WakeKind.COLD_START, WakeKind.RESTORED]
        (slept,) = of(told, h.SleepDone)
        assert (slept.eviction, slept.size_bytes, slept.reused) == (DISK, stored.size_bytes, False)
        assert set(slept.phases) == {"engine_sleep", "dump", "end"}
        assert sum(slept.phases.values()) <= slept.seconds
        (made,) = of(told, h.CheckpointMade)
        assert (made.generation, made.size_bytes) == (stored.generation, stored.size_bytes)
        decided = [(each.who, each.what) for each in of(told, h.Decided)]
        assert decided == [("control", "wake"), ("control", "sleep"), ("control", "wake")]


async def test_a_wake_for_a_request_is_the_policys_wish_and_what_a_switch_does_is_by_hand(
    watching, make_hands
):
    async with watching(make_hands()) as (driver, told):
        async with driver.admit("m"):
            pass
        driver._act(Sleep("m", "makes room for other", by_hand=True))
        decided = [(each.who, each.what) for each in of(told, h.Decided)]
        assert decided == [("fifo", "wake"), ("control", "sleep")]


async def test_a_checkpoint_that_serves_again_is_told(watching, make_hands, stored):
    async with watching(make_hands(again=stored)) as (driver, told):
        await driver.wake("m")
        await driver.sleep("m", DISK)
        assert of(told, h.SleepDone)[0].reused
        assert [each.generation for each in of(told, h.CheckpointReused)] == [stored.generation]
        assert not of(told, h.CheckpointMade)


async def test_a_deeper_sleep_that_takes_the_checkpoint_away_is_told(watching, make_hands):
    async with watching(make_hands()) as (driver, told):
        await driver.wake("m")
        await driver.sleep("m", DISK)
        await driver.sleep("m", STOP)
        assert [each.deepened for each in of(told, h.SleepDone)] == [False, True]
        assert "cold" in of(told, h.CheckpointRemoved)[0].why


async def test_a_sleep_that_fails_and_the_one_that_is_tried_then_are_told(watching, make_hands):
    hands = make_hands(broken={"dump"})
    async with watching(hands) as (driver, told):
        await driver.wake("m")
        with pytest.raises(ModelUnavailable):
            await driver.sleep("m", DISK)
        (failed,) = of(told, h.SleepFailed)
        assert (failed.eviction, failed.engine_lost) == (DISK, False)
        assert failed.problem.code == "start_refused"
        last = of(told, h.StateChanged)[-1]
        assert (last.after, "dump is broken" in last.why) == ("running", True)


async def test_a_wake_that_fails_is_told_with_the_cold_start_that_follows(watching, make_hands):
    hands = make_hands()
    async with watching(hands) as (driver, told):
        await driver.wake("m")
        await driver.sleep("m", DISK)
        hands.broken.add("restore")
        await driver.wake("m")
        (failed,) = of(told, h.WakeFailed)
        assert (failed.wake, failed.problem.message) == (WakeKind.RESTORED, "restore is broken")
        assert "restore is broken" in of(told, h.WakeDone)[-1].reason


async def test_an_engine_that_is_lost_and_started_again_is_told(watching, make_hands):
    hands = make_hands()
    async with watching(hands) as (driver, told):
        await driver.wake("m")
        hands.lives[0].die()
        async with asyncio.timeout(30):
            while not isinstance(driver.models["m"].replicas[0].state, Failed):  # noqa: ASYNC110
                await asyncio.sleep(0)
        await driver.wake("m")
        assert [each.problem.code for each in of(told, h.EngineLost)] == ["engine_exited"]
        assert "boom" not in of(told, h.EngineRestarted)[0].why
        assert "exit code 1" in of(told, h.EngineRestarted)[0].why
