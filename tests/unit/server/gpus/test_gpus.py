"""What llmux knows and does of GPUs, with the stand-in for NVML and engines that are no processes."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager

import pytest

from llmux.server import _app
from llmux.server._capacity import gpu_memory
from llmux.server._model import Asleep, Eviction, Failed, Process, Running, Weights
from llmux.server._rules import Sizes
from llmux.server.errors import ModelUnavailable
from llmux.server.gpus import _gpus, _watch
from llmux.server.gpus._devices import Xid
from llmux.server.gpus._gpus import GPUS, Gpus, attach, look
from llmux.server.gpus._watch import Back, Gone
from stand_in_driver.nvml import GIB

WARM = Eviction(Weights.RETAIN, Process.KEEP_RUNNING)
SUSPENDED = Eviction(Weights.RETAIN, Process.CUDA_SUSPEND)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(_watch, "_TURN", 0.02)
    monkeypatch.setattr(_watch, "LOOK_EVERY", 0.02)


@pytest.fixture
def two(make_driver, make_hands, until, caplog):
    """Give a function that opens a driver of two models, each on a GPU of its own, and what watches these."""
    caplog.set_level("INFO", "llmux.server.gpus")

    @asynccontextmanager
    async def opened():
        driver = make_driver({"m": make_hands(has_driver=True), "n": make_hands()})
        for index, model in enumerate(driver.models.values()):
            model.replicas[0].sizes = Sizes({gpu_memory(index): 1})
        await driver.open()
        gpus = Gpus(driver, (0, 1))
        gpus.open()
        await until(lambda: "2 GPUs are watched" in caplog.messages)
        try:
            yield driver, gpus
        finally:
            await driver.close()
            await gpus.close()

    return opened


def state(driver, name):
    return driver.models[name].replicas[0].state


def test_a_look_says_whose_the_memory_is(machine):
    ours, others = os.getpid(), os.getppid()
    machine.say(f"process 0 {ours} {5 * GIB}")
    machine.say(f"process 0 {others} {3 * GIB}")
    sight = look((0, 1), {"m": ours})
    assert sight.shares == {"m": {0: 5 * GIB}}
    assert sight.others == {0: 3 * GIB, 1: 0}
    assert time.time() - sight.at < 5


async def test_it_is_looked_at_anew_only_after_a_while(machine, two, monkeypatch):
    async with two() as (_, gpus):
        first = await gpus.seen()
        assert [each.index for each in first.gpus] == [0, 1]
        assert await gpus.seen() is first
        monkeypatch.setattr(_gpus, "FRESH", 0.0)
        assert await gpus.seen() is not first


async def test_a_driver_that_hangs_holds_nobody_up(machine, two, monkeypatch):
    monkeypatch.setattr(_gpus, "FRESH", 0.0)
    monkeypatch.setattr(_gpus, "PATIENCE", 0.05)
    async with two() as (_, gpus):
        first = await gpus.seen()
        machine.say("delay 3000")
        began = time.monotonic()
        assert await gpus.seen() is first
        assert await gpus.seen() is first
        assert time.monotonic() - began < 3
        machine.unsay("delay")


async def test_a_gpu_that_is_lost_has_its_model_fail_and_no_other(machine, two, until):
    async with two() as (driver, gpus):
        for name in ("m", "n"):
            await driver.wake(name)
        machine.say("xid 0 79", "lost 0")
        await until(lambda: isinstance(state(driver, "m"), Failed))
        assert state(driver, "m").why.code == "gpu_lost"
        assert state(driver, "m").why.message == "GPU 0 is lost: Xid 79 (the GPU has fallen off the bus)"
        assert "nvidia-smi --gpu-reset -i 0" in state(driver, "m").why.hint
        with pytest.raises(ModelUnavailable) as refused:
            await driver.wake("m")
        assert refused.value.problem().code == "gpu_lost"
        async with driver.admit("n") as admission:
            assert admission.life
        gpus.take(Back(0))
        await driver.wake("m")
        assert isinstance(state(driver, "m"), Running)


async def test_requests_in_flight_are_told_of_the_gpu(machine, two):
    async with two() as (driver, gpus):
        async with driver.admit("m") as admission:
            gpus.take(Xid(0, 48))
            cut = await asyncio.wait_for(admission.cut, 30)
        assert (cut.engine_lost, cut.problem.code) == (True, "gpu_lost")


async def test_an_error_that_the_gpu_outlives_ends_its_engines_which_start_again(machine, two, until):
    async with two() as (driver, gpus):
        await driver.wake("m")
        gpus.take(Xid(0, 94))
        await until(lambda: isinstance(state(driver, "m"), Failed))
        assert state(driver, "m").why.code == "gpu_failed"
        assert "Xid 94" in state(driver, "m").why.message
        await driver.wake("m")
        assert isinstance(state(driver, "m"), Running)
        assert (gpus.heard[0].number, str(gpus.heard[0])) == (94, "Xid 94 (contained ECC error)")


async def test_an_error_of_one_process_is_that_ones_own(machine, two, caplog):
    async with two() as (driver, gpus):
        await driver.wake("m")
        gpus.take(Xid(0, 31))
        await asyncio.sleep(0.05)
        assert isinstance(state(driver, "m"), Running)
        assert "GPU 0: Xid 31 (GPU memory page fault)" in caplog.messages


@pytest.mark.parametrize(("eviction", "stays"), [(WARM, False), (SUSPENDED, True)])
async def test_one_that_sleeps_fails_where_it_has_something_on_the_gpu(machine, two, until, eviction, stays):
    async with two() as (driver, gpus):
        await driver.wake("m")
        await driver.sleep("m", eviction)
        gpus.take(Gone(0, "GPU is lost"))
        if stays:
            await asyncio.sleep(0.05)
            assert isinstance(state(driver, "m"), Asleep)
            with pytest.raises(ModelUnavailable):
                await driver.wake("m")
        await until(lambda: isinstance(state(driver, "m"), Failed))
        assert state(driver, "m").why.message == "GPU 0 is lost: NVML: GPU is lost"


async def test_one_on_disk_sleeps_on_and_wakes_once_the_gpu_is_back(machine, two):
    async with two() as (driver, gpus):
        await driver.wake("m")
        await driver.sleep("m", Eviction(Weights.DISCARD, Process.CHECKPOINT))
        gpus.take(Gone(0, "GPU is lost"))
        with pytest.raises(ModelUnavailable):
            await driver.wake("m")
        assert isinstance(state(driver, "m"), Asleep)
        assert state(driver, "m").problem.code == "gpu_lost"
        gpus.take(Back(0))
        await driver.wake("m")


async def test_an_engine_that_no_configuration_puts_there_is_found_by_its_processes(
    machine, two, until, monkeypatch
):
    async with two() as (driver, gpus):
        await driver.wake("n")
        driver.models["n"].replicas[0].sizes = Sizes()
        driver.models["n"].replicas[0].life.init_pid = os.getpid()
        machine.say(f"process 1 {os.getpid()} 5")
        await gpus.seen()
        monkeypatch.setattr(_gpus, "FRESH", 0.0)
        machine.say("lost 1")
        await gpus.seen()
        await until(lambda: isinstance(state(driver, "n"), Failed))


async def test_a_start_that_is_under_way_fails_of_the_gpu(machine, two, until):
    async with two() as (driver, gpus):
        hands = driver.models["m"].replicas[0].hands
        hands.gates["cold_start"], hands.broken = asyncio.Event(), {"cold_start"}
        waking = asyncio.ensure_future(driver.wake("m"))  # noqa: TID251 - a test's client is a task of its own
        await until(lambda: driver.models["m"].replicas[0].operation is not None)
        gpus.take(Xid(0, 79))
        hands.gates["cold_start"].set()
        with pytest.raises(ModelUnavailable) as refused:
            await waking
        assert refused.value.problem().code == "gpu_lost"


async def test_one_that_is_lost_from_the_start_has_nothing_tried_there(
    serve, make_driver, make_hands, machine, until
):
    machine.say("lost 0")
    driver = make_driver({"m": make_hands(), "n": make_hands()})
    driver.models["m"].replicas[0].sizes = Sizes({gpu_memory(0): 1})
    app = _app.build(driver)
    attach(app, (1,), {0: "GPU is lost"})
    await serve(app)
    with pytest.raises(ModelUnavailable) as refused:
        await driver.wake("m")
    assert refused.value.problem().code == "gpu_lost"
    assert driver.models["m"].replicas[0].hands.lives == []
    await driver.wake("n")
    assert app[GPUS].indexes == (0, 1)
    machine.unsay("lost")
    await until(lambda: not app[GPUS].lost)
    await driver.wake("m")


async def test_nothing_follows_where_llmux_ends(machine, two):
    async with two() as (driver, gpus):
        await driver.wake("m")
        driver.refuse_all()
        gpus.take(Xid(0, 79))
        assert not gpus.lost
