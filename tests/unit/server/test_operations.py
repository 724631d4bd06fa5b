"""Every step of every operation fails in every way, or its engine dies in it: no state is left half way, nobody waits for ever."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from llmux.server import _operations, _phases
from llmux.server._happenings import SleepDone, WakeDone
from llmux.server._model import Asleep, Eviction, Failed, NotStarted, Process, Running, Weights
from llmux.server.errors import ModelUnavailable, ServerError

STEPS = ("cold_start", "quieten", "suspend", "dump", "resume", "restore", "close", "wait")
FAULTS = (None, OSError(28, "No space left on device"), ValueError("nobody thought of that"), TimeoutError())
SLEEPS = tuple(
    Eviction(Weights.DISCARD, process)
    for process in (Process.KEEP_RUNNING, Process.CUDA_SUSPEND, Process.CHECKPOINT, Process.STOP)
)
AT_REST = NotStarted | Running | Asleep | Failed


@pytest.fixture
def driving(make_driver):
    @asynccontextmanager
    async def opened(hands):
        driver = make_driver(hands)
        await driver.open()
        try:
            async with asyncio.timeout(30):
                yield driver
        finally:
            await driver.close()

    return opened


async def serves(driver):
    async with driver.admit("m") as admission:
        return admission.life.number


async def come_to_rest(model):
    while model.operation and not model.operation.done():
        await asyncio.wait((model.operation,))


async def outcome(waiting):
    """Return what an action gives or refuses with; anything but an error of ours is the test's to see."""
    try:
        return await waiting
    except ServerError as error:
        return error


@pytest.mark.parametrize(("weights", "measured"), [(Weights.DISCARD, 7), (Weights.RETAIN, None)])
async def test_what_a_sleeping_process_keeps_of_its_gpus_is_measured(driving, make_hands, weights, measured):
    async with driving({"m": make_hands(on_gpu=7)}) as driver:
        await driver.wake("m")
        await driver.sleep("m", Eviction(weights, Process.KEEP_RUNNING))
        assert driver.meter._amounts["m"].gpu_memory_asleep == measured


@pytest.mark.parametrize("sleep", SLEEPS[:3], ids=lambda sleep: sleep.process.value)
async def test_phases_lie_within_their_operation_however_slowly_it_begins(
    driving, make_hands, monkeypatch, sleep
):
    slowing = itertools.accumulate(0.9**tick for tick in itertools.count())
    clock = SimpleNamespace(monotonic=lambda: next(slowing), time=time.time)
    monkeypatch.setattr(_operations, "time", clock)
    monkeypatch.setattr(_phases, "time", clock)
    told = []
    async with driving({"m": make_hands(has_driver=True)}) as driver:
        with driver.bus.subscribed(lambda entry: told.append(entry.happening)):
            await driver.wake("m")
            await driver.sleep("m", sleep)
            await driver.wake("m")
    moves = [each for each in told if isinstance(each, WakeDone | SleepDone)]
    assert len(moves) == 3
    for move in moves:
        assert all(move.phases_begun[name] + move.phases[name] <= move.seconds for name in move.phases_begun)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("sleep", SLEEPS, ids=lambda sleep: sleep.process.value)
@pytest.mark.parametrize("step", STEPS)
async def test_a_step_that_fails_leaves_a_state_at_rest_and_is_told(driving, make_hands, step, sleep, fault):
    hands = make_hands(broken={step}, fault=fault, has_driver=True)
    async with driving({"m": hands}) as driver:
        model = driver.models["m"].replicas[0]
        for act in (
            serves,
            lambda driver: driver.sleep("m", sleep),
            serves,
            lambda driver: driver.sleep("m", sleep),
        ):
            told = await outcome(act(driver))
            if isinstance(told, ModelUnavailable):
                assert told.problem().message
            await come_to_rest(model)
            assert isinstance(model.state, AT_REST), model.state
            assert not driver.models["m"].queue
            assert not model.sleepers
        hands.broken.clear()
        await serves(driver)
        assert not model.is_busy
        assert not hands.lives[-1].closed
        assert all(life.closed for life in hands.lives[:-1])


@pytest.mark.parametrize("sleep", SLEEPS, ids=lambda sleep: sleep.process.value)
@pytest.mark.parametrize("step", ["quieten", "dump", "resume", "close"])
async def test_an_engine_that_dies_in_a_step_is_started_again(driving, make_hands, step, sleep):
    """The step fails as the steps of a dead engine do; whoever was held meanwhile is served by the next life."""
    hands = make_hands(gates={step: asyncio.Event()})
    async with driving({"m": hands}) as driver:
        await serves(driver)
        asleep = asyncio.ensure_future(outcome(driver.sleep("m", sleep)))  # noqa: TID251 - a client, not the server
        await asyncio.sleep(0.02)
        held = asyncio.ensure_future(serves(driver))  # noqa: TID251
        await asyncio.sleep(0.02)
        hands.lives[0].die()
        hands.broken.add(step)
        hands.gates.pop(step).set()
        await asyncio.sleep(0.02)
        hands.broken.clear()
        await asyncio.gather(asleep, outcome(held))
        assert isinstance(await serves(driver), int)
        await come_to_rest(driver.models["m"].replicas[0])
        assert isinstance(driver.models["m"].replicas[0].state, Running)


async def test_a_sleep_is_refused_while_llmux_stops(driving, make_hands):
    async with driving({"m": make_hands()}) as driver:
        await serves(driver)
        await driver.close()
        with pytest.raises(ModelUnavailable, match="stopping"):
            await driver.sleep("m")


async def test_a_watch_that_fails_counts_as_a_lost_engine(driving, make_hands):
    hands = make_hands(broken={"wait"}, fault=ValueError("what is that"))
    async with driving({"m": hands}) as driver:
        await serves(driver)
        hands.lives[0].die()
        while not isinstance(driver.models["m"].replicas[0].state, Failed):  # noqa: ASYNC110 - a state has no event here
            await asyncio.sleep(0)
        assert (
            "watching the engine failed: ValueError: what is that"
            in driver.models["m"].replicas[0].state.why.message
        )
        hands.broken.clear()
        assert await serves(driver) == 2


async def test_an_engine_puts_by_what_its_next_start_can_take_up_when_it_is_stopped_and_only_then(
    driving, make_hands
):
    warm, _, disk, stop = SLEEPS
    hands = make_hands()
    async with driving({"m": hands}) as driver:
        for sleep, told in ((stop, 1), (disk, 1), (warm, 1)):
            await serves(driver)
            await driver.sleep("m", sleep)
            assert hands.put_by == told, sleep
        await driver.sleep("m", stop)  # from where its process was kept
        assert hands.put_by == 2


async def test_the_log_says_how_a_model_came_to_serve_and_of_a_cold_start_why(driving, make_hands, caplog):
    caplog.set_level(logging.INFO, "llmux")
    async with driving({"m": make_hands()}) as driver:
        await serves(driver)
        await driver.sleep("m", SLEEPS[2])
        await serves(driver)
    said = [
        re.sub(r"[0-9.]+ s", "N s", line)
        for line in map(logging.LogRecord.getMessage, caplog.records)
        if re.match(r"m: \w+ in ", line)
    ]
    assert said == ["m: cold_start in N s (it had not been started before)", "m: restored in N s"]


SUSPENDED = Eviction(Weights.RETAIN, Process.CUDA_SUSPEND)


@pytest.mark.parametrize("kept", [Process.KEEP_RUNNING, None])
async def test_an_engine_leaves_its_gpus_awake_or_asleep_and_wakes_warm(driving, make_hands, kept):
    hands = make_hands(has_driver=True)
    async with driving({"m": hands}) as driver:
        model = driver.models["m"].replicas[0]
        await serves(driver)
        if kept:
            await driver.sleep("m", Eviction(Weights.RETAIN, kept))
        await driver.sleep("m", SUSPENDED)
        await come_to_rest(model)
        assert (model.state.eviction, hands.suspended) == (SUSPENDED, 1)
        assert await serves(driver) == 1


async def test_an_engine_that_cannot_leave_its_gpus_serves_on(driving, make_hands):
    hands = make_hands(has_driver=True, broken={"suspend"})
    async with driving({"m": hands}) as driver:
        await serves(driver)
        assert isinstance(await outcome(driver.sleep("m", SUSPENDED)), ModelUnavailable)
        assert isinstance(driver.models["m"].replicas[0].state, Running)
        assert await serves(driver) == 1


async def test_one_that_leaves_its_gpus_goes_to_disk_from_there(driving, make_hands):
    hands = make_hands(has_driver=True)
    async with driving({"m": hands}) as driver:
        await serves(driver)
        await driver.sleep("m", SUSPENDED)
        to = Eviction(Weights.RETAIN, Process.CHECKPOINT)
        await driver.sleep("m", to)
        await come_to_rest(driver.models["m"].replicas[0])
        assert driver.models["m"].replicas[0].state.eviction == to
        assert hands.lives[0].closed
