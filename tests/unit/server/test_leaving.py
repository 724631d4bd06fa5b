"""The end of llmux: requests are answered, models put to sleep as their rules say, and nobody is waited for too long."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from llmux.server import _operations
from llmux.server._leaving import last_sleep, leave
from llmux.server._model import Asleep, Eviction, Process, Running, Starting, Weights
from llmux.server._rules import AfterDrain, Rules
from llmux.server.errors import ModelUnavailable

DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
WARM = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
STOP = Eviction(Weights.DISCARD, Process.STOP)
LONG = 30.0

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own


@pytest.fixture
def driving(make_driver):
    @asynccontextmanager
    async def opened(rules=None, **hands):
        driver = make_driver(hands, **rules or {})
        await driver.open()
        try:
            yield driver
        finally:
            await driver.close()

    return opened


async def served(driver, *names):
    for name in names:
        async with driver.admit(name):
            pass


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the driver has no event for every state
            await asyncio.sleep(0)


def only(driver, name="m"):
    return driver.models[name].replicas[0]


def nobody():
    return asyncio.get_running_loop().create_future()


def asleep(driver, name="m"):
    state = only(driver, name).state
    return state.eviction if isinstance(state, Asleep) else state


@pytest.mark.parametrize(("deep", "last"), [(DISK, DISK), (STOP, STOP)])
def test_a_sleep_that_outlasts_llmux_stays_as_it_is(deep, last):
    assert last_sleep(Rules(), deep) == last


def test_a_kept_process_goes_to_the_next_rung_with_its_weights_as_they_are():
    assert last_sleep(Rules(), WARM) == Eviction(Weights.OFFLOAD, Process.CHECKPOINT)


async def test_what_runs_goes_to_disk_and_so_does_what_sleeps_in_memory_without_being_woken(
    driving, make_hands
):
    hands = make_hands()
    async with driving(a=make_hands(), b=hands, c=make_hands(eviction=WARM)) as driver:
        await served(driver, "a", "b", "c")
        await driver.sleep("b", WARM)
        hands.broken.add("resume")
        await leave(driver, LONG, nobody())
        assert asleep(driver, "a") == DISK
        assert asleep(driver, "b") == asleep(driver, "c") == Eviction(Weights.OFFLOAD, Process.CHECKPOINT)


async def test_what_cannot_go_to_disk_and_what_is_not_to_is_ended(driving, make_hands, monkeypatch):
    hands = make_hands()
    monkeypatch.setattr(
        hands, "refusal", lambda eviction: "no CRIU" if eviction.process is Process.CHECKPOINT else ""
    )
    async with driving(a=hands, b=make_hands(eviction=STOP)) as driver:
        await served(driver, "a", "b")
        await leave(driver, LONG, nobody())
        assert asleep(driver, "a") == asleep(driver, "b") == STOP
        assert hands.lives[0].closed


async def test_told_to_end_engines_it_writes_none_to_disk_and_keeps_what_sleeps_there(driving, make_hands):
    async with driving(a=make_hands(), b=make_hands()) as driver:
        await served(driver, "a", "b")
        await driver.sleep("b")
        await leave(driver, LONG, nobody(), sleep=False)
        assert (asleep(driver, "a"), asleep(driver, "b")) == (STOP, DISK)


async def test_a_failed_dump_is_not_tried_again(driving, make_hands, caplog):
    hands = make_hands(broken={"dump"})
    async with driving(m=hands) as driver:
        await served(driver, "m")
        await leave(driver, LONG, nobody())
        assert isinstance(only(driver).state, Running)
        assert "could not be put to sleep" in caplog.text
    assert hands.lives[0].closed


async def test_requests_in_flight_are_answered_first_and_new_ones_refused(driving, make_hands):
    async with driving(m=make_hands()) as driver:
        async with driver.admit("m") as admission:
            leaving = soon(leave(driver, LONG, nobody()))
            await until(lambda: driver.stopping)
            with pytest.raises(ModelUnavailable, match="stopping"):
                await served(driver, "m")
            assert not admission.cut.done()
            assert not leaving.done()
        await leaving
        assert asleep(driver) == DISK


@pytest.mark.parametrize("then", [AfterDrain.END, AfterDrain.GIVE_UP])
async def test_requests_that_take_longer_than_the_drain_may_are_cut_off(driving, make_hands, then):
    async with driving(rules={"then": then}, m=make_hands(drain_timeout=0.01)) as driver:
        async with driver.admit("m") as admission:
            leaving = soon(leave(driver, LONG, nobody()))
            assert (await admission.cut).problem.code == "drain_timeout"
        await leaving
        assert asleep(driver) == DISK


async def test_hurried_it_waits_for_nobody_and_gives_up_the_dumps(driving, make_hands):
    hands = make_hands(gates={"dump": asyncio.Event()})
    hurried = nobody()
    async with driving(m=hands, n=make_hands()) as driver:
        await served(driver, "m")
        async with driver.admit("n") as admission:
            leaving = soon(leave(driver, LONG, hurried))
            await until(lambda: not isinstance(only(driver, "m").state, Running))
            hurried.set_result(None)
            await leaving
            await driver.close()
            assert (await admission.cut).problem.code == "stopping"
        assert hands.stored is None
        assert hands.lives[0].closed


async def test_its_time_is_bounded(driving, make_hands):
    async with driving(m=make_hands(gates={"dump": asyncio.Event()})) as driver:
        await served(driver, "m")
        async with asyncio.timeout(30):
            await leave(driver, 0.05, nobody())


async def test_a_sleep_under_way_goes_on_and_then_deeper_and_a_start_is_given_up(driving, make_hands):
    gate, hands = asyncio.Event(), make_hands()
    starting = make_hands(gates={"cold_start": asyncio.Event()})
    async with driving(m=hands, n=starting) as driver:
        await served(driver, "m")
        hands.gates["quieten"] = gate
        sleeping, asking = soon(driver.sleep("m", WARM)), soon(served(driver, "n"))
        await until(lambda: isinstance(only(driver, "n").state, Starting))
        leaving = soon(leave(driver, LONG, nobody()))
        await until(lambda: driver.stopping)
        gate.set()
        await leaving
        await sleeping
        assert asleep(driver) == Eviction(Weights.OFFLOAD, Process.CHECKPOINT)
        with pytest.raises(ModelUnavailable, match="stopping"):
            await asking


async def test_a_warm_wake_under_way_ends_first(driving, make_hands):
    hands = make_hands()
    async with driving(m=hands) as driver:
        await served(driver, "m")
        await driver.sleep("m", WARM)
        hands.gates["resume"] = asyncio.Event()
        asking = soon(served(driver, "m"))
        await until(lambda: not isinstance(only(driver).state, Asleep))
        leaving = soon(leave(driver, LONG, nobody()))
        await until(lambda: driver.stopping)
        hands.gates["resume"].set()
        await leaving
        with pytest.raises(ModelUnavailable):
            await asking
        assert asleep(driver) == DISK


async def test_a_few_are_written_to_disk_at_a_time(driving, make_hands, monkeypatch):
    monkeypatch.setattr(_operations, "DUMPS_AT_ONCE", 2)
    gate = asyncio.Event()
    begun = []

    every = {f"m{number}": make_hands(gates={"dump": gate}) for number in range(5)}
    for name, hands in every.items():
        monkeypatch.setattr(hands, "step", counting(hands.step, begun, name))
    async with driving(**every) as driver:
        await served(driver, *every)
        leaving = soon(leave(driver, LONG, nobody()))
        await until(lambda: len(begun) == 2)
        await asyncio.sleep(0.02)
        assert len(begun) == 2
        gate.set()
        await leaving
        assert {asleep(driver, name) for name in every} == {DISK}


def counting(step, begun, model):
    async def counted(name):
        if name == "dump":
            begun.append(model)
        await step(name)

    return counted
