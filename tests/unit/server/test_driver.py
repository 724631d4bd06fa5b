"""The driver: requests held and answered, sleeps and wakes, what fails, who waits for whom. Its hands are fakes."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest

from llmux.server._depth import deeper_than
from llmux.server._model import (
    Asleep,
    Draining,
    Eviction,
    Failed,
    GoingToSleep,
    NotStarted,
    Process,
    Running,
    Starting,
    WakeKind,
    Waking,
    Weights,
)
from llmux.server.errors import EvictionRefused, IllegalMove, ModelUnavailable, Problem, UnknownModel
from llmux.server.scheduling.snapshot import Wake

WARM = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
STOP = Eviction(Weights.DISCARD, Process.STOP)

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own


@pytest.fixture
def driving(make_driver):
    """Give a function that opens a driver for hands by name, and sees that it leaves nothing running."""

    @asynccontextmanager
    async def opened(max_awake=None, rules=None, **hands):
        driver = make_driver(hands, max_awake, **rules or {})
        await driver.open()
        try:
            yield driver
        finally:
            await driver.close()
            every = [each for one in hands.values() for each in (one if isinstance(one, list) else [one])]
            assert all(life.closed for each in every for life in each.lives)

    return opened


def only(driver, name):
    return driver.models[name].replicas[0]


async def serves(driver, name="m"):
    async with driver.admit(name) as admission:
        return admission.life.number


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the driver has no event for every state
            await asyncio.sleep(0)


async def test_the_first_request_starts_the_engine_and_later_ones_use_it(driving, make_hands):
    async with driving(m=make_hands()) as driver:
        assert isinstance(only(driver, "m").state, NotStarted)
        assert await asyncio.gather(*(serves(driver) for _ in range(5))) == [1] * 5
        assert only(driver, "m").last_wake.kind is WakeKind.COLD_START
        assert not only(driver, "m").is_busy


async def test_a_request_wakes_a_model_that_sleeps_on_disk(driving, make_hands):
    hands = make_hands()
    async with driving(m=hands) as driver:
        await serves(driver)
        await driver.sleep("m")
        assert isinstance(only(driver, "m").state, Asleep)
        assert hands.lives[0].closed
        assert await serves(driver) == 2
        assert only(driver, "m").last_wake.kind is WakeKind.RESTORED


async def test_a_kept_process_wakes_warm(driving, make_hands):
    hands = make_hands()
    async with driving(m=hands) as driver:
        await serves(driver)
        await driver.sleep("m", WARM)
        assert hands.lives[0].asleep
        assert await serves(driver) == 1
        assert not hands.lives[0].asleep
        assert only(driver, "m").last_wake.kind is WakeKind.WARM


async def test_a_stopped_model_starts_cold_and_says_why(driving, make_hands):
    async with driving(m=make_hands()) as driver:
        await serves(driver)
        await driver.sleep("m", STOP)
        assert await serves(driver) == 2
        assert "stopped" in only(driver, "m").last_wake.reason


async def test_a_checkpoint_found_at_the_start_means_asleep_and_nothing_starts(driving, make_hands, stored):
    hands = make_hands(stored=stored)
    async with driving(m=hands) as driver:
        assert isinstance(only(driver, "m").state, Asleep)
        assert hands.lives == []
        await driver.wake("m")
        assert only(driver, "m").last_wake.kind is WakeKind.RESTORED


async def test_an_invalid_checkpoint_is_reported_and_the_model_not_started(driving, make_hands):
    problem = Problem("damaged", "it is cut short")
    async with driving(m=make_hands(stored=problem)) as driver:
        assert only(driver, "m").checkpoint_problem == problem
        assert isinstance(only(driver, "m").state, NotStarted)
        await serves(driver)
        assert "it is cut short" in only(driver, "m").last_wake.reason


async def test_a_sleep_waits_for_the_request_in_flight_and_later_ones_wait_for_the_wake(driving, make_hands):
    async with driving(m=make_hands()) as driver:
        async with driver.admit("m") as admission:
            sleeping = soon(driver.sleep("m"))
            await until(lambda: isinstance(only(driver, "m").state, Draining))
            later = soon(serves(driver))
            await asyncio.sleep(0.02)
            assert not admission.life.asleep
            assert not later.done()
        await sleeping
        assert await later == 2
        assert only(driver, "m").last_wake.kind is WakeKind.RESTORED


async def test_a_drain_that_takes_too_long_gives_the_sleep_up(driving, make_hands):
    async with driving(m=make_hands(drain_timeout=0.02)) as driver:
        async with driver.admit("m"):
            with pytest.raises(ModelUnavailable, match="1 requests were still being answered") as caught:
                await driver.sleep("m")
            assert caught.value.problem().code == "drain_timeout"
            assert isinstance(only(driver, "m").state, Running)
        assert await serves(driver) == 1


@pytest.mark.parametrize("step", ["quieten", "dump"])
async def test_a_sleep_that_fails_leaves_the_model_running_and_says_why(driving, make_hands, step):
    hands = make_hands(broken={step})
    async with driving(m=hands) as driver:
        await serves(driver)
        with pytest.raises(ModelUnavailable, match=f"{step} is broken"):
            await driver.sleep("m")
        assert await serves(driver) == 1
        assert not hands.lives[0].asleep
        assert only(driver, "m").state.sleep_failed.message == f"{step} is broken"


async def test_a_failed_sleep_that_cannot_be_taken_back_loses_the_engine(driving, make_hands):
    hands = make_hands(broken={"dump", "resume"})
    async with driving(m=hands) as driver:
        await serves(driver)
        with pytest.raises(ModelUnavailable, match="dump is broken; and then resume is broken"):
            await driver.sleep("m")
        assert isinstance(only(driver, "m").state, Failed)
        await until(lambda: hands.lives[0].closed)
        assert await serves(driver) == 2


async def test_a_restore_that_fails_becomes_a_cold_start_with_the_reason(driving, make_hands):
    hands = make_hands(broken={"restore"})
    async with driving(m=hands) as driver:
        await serves(driver)
        await driver.sleep("m")
        assert await serves(driver) == 2
        assert only(driver, "m").last_wake.kind is WakeKind.COLD_START
        assert "restore is broken" in only(driver, "m").last_wake.reason


async def test_a_restore_and_a_cold_start_that_both_fail_leave_the_checkpoint_to_be_tried_again(
    driving, make_hands, stored
):
    hands = make_hands(stored=stored, broken={"restore", "cold_start"})
    async with driving(m=hands) as driver:
        with pytest.raises(ModelUnavailable, match="cold_start is broken"):
            await serves(driver)
        assert only(driver, "m").state.problem.message == "cold_start is broken"
        hands.broken.clear()
        await serves(driver)
        assert only(driver, "m").last_wake.kind is WakeKind.RESTORED


async def test_a_start_that_fails_is_told_to_all_who_wait_and_tried_again(driving, make_hands):
    hands = make_hands(broken={"cold_start"})
    async with driving(m=hands) as driver:
        answers = await asyncio.gather(serves(driver), serves(driver), return_exceptions=True)
        assert [type(answer) for answer in answers] == [ModelUnavailable] * 2
        assert "cold_start is broken. mend it" in str(answers[0].problem())
        hands.broken.clear()
        assert await serves(driver) == 1


async def test_an_engine_that_ends_is_noticed_and_the_next_request_starts_it(driving, make_hands):
    hands = make_hands()
    async with driving(m=hands) as driver:
        async with driver.admit("m"):
            hands.lives[0].die()
            await until(lambda: isinstance(only(driver, "m").state, Failed))
            assert "exit code 1" in only(driver, "m").state.why.message
        assert await serves(driver) == 2


async def test_a_client_that_leaves_while_held_is_forgotten(driving, make_hands):
    hands = make_hands(gates={"cold_start": asyncio.Event()})
    async with driving(m=hands) as driver:
        waiting = [soon(serves(driver)) for _ in range(3)]
        await until(lambda: len(driver.models["m"].queue) == 3)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        assert len(driver.models["m"].queue) == 2
        hands.gates["cold_start"].set()
        waiting[1].cancel()  # at the very moment of the admission
        assert await waiting[2] == 1
        assert not only(driver, "m").is_busy


async def test_a_client_that_leaves_in_flight_is_counted_out(driving, make_hands):
    async with driving(m=make_hands()) as driver:

        async def endless():
            async with driver.admit("m"):
                await asyncio.Event().wait()

        client = soon(endless())
        await until(lambda: only(driver, "m").is_busy)
        client.cancel()
        await asyncio.wait([client])
        assert not only(driver, "m").is_busy


async def test_moves_that_cannot_be_are_refused(driving, make_hands):
    async with driving(m=make_hands()) as driver:
        with pytest.raises(UnknownModel, match="'x' does not exist"):
            await driver.sleep("x")
        with pytest.raises(IllegalMove, match="not_started"):
            await driver.sleep("m")
        with pytest.raises(EvictionRefused, match="no driver"):
            await driver.sleep("m", Eviction(Weights.DISCARD, Process.CUDA_SUSPEND))


async def test_sleeping_twice_is_one_sleep(driving, make_hands):
    hands = make_hands(gates={"dump": asyncio.Event()})
    async with driving(m=hands) as driver:
        await serves(driver)
        both = [soon(driver.sleep("m")) for _ in range(2)]
        await until(lambda: isinstance(only(driver, "m").state, GoingToSleep))
        hands.gates["dump"].set()
        await asyncio.gather(*both)
        await driver.sleep("m")
        assert isinstance(only(driver, "m").state, Asleep)


async def test_a_sleep_by_hand_of_one_that_sleeps_is_done_already_unless_it_is_to_be_deeper(
    driving, make_hands
):
    async with driving(m=make_hands()) as driver:
        await serves(driver)
        await driver.sleep("m", WARM)
        await driver.sleep("m")
        state = only(driver, "m").state
        assert deeper_than(state.eviction, WARM)
        await driver.sleep("m", STOP)
        state = only(driver, "m").state
        await driver.sleep("m")
        await driver.sleep("m", STOP)
        assert only(driver, "m").state is state
        with pytest.raises(
            IllegalMove, match=r"asleep \(.*stop\) cannot be put to sleep \(.*keep_running\)"
        ) as refused:
            await driver.sleep("m", WARM)
        assert "wake it first" in refused.value.hint


async def test_a_deeper_sleep_by_hand_is_for_all_replicas(driving, make_hands):
    async with driving(m=[make_hands(), make_hands()]) as driver:
        both = driver.models["m"].replicas
        for replica in both:
            driver._act(Wake(replica.name, "the test wants it"))
        await until(lambda: all(isinstance(each.state, Running) for each in both))
        for eviction in (WARM, STOP):
            await driver.sleep("m", eviction)
            assert [each.state.eviction for each in both] == [eviction] * 2


async def test_one_model_sleeps_for_another_when_only_one_may_be_awake(driving, make_hands):
    async with driving(1, a=make_hands(), b=make_hands()) as driver:
        await serves(driver, "a")
        await serves(driver, "b")
        assert isinstance(only(driver, "a").state, Asleep)
        await serves(driver, "a")
        assert isinstance(only(driver, "b").state, Asleep)


async def test_a_wait_for_the_end_of_min_awake_is_one_line_however_many_wait(driving, make_hands, caplog):
    caplog.set_level(logging.INFO, "llmux")
    async with driving(1, rules={"min_awake": 0.4}, a=make_hands(), b=make_hands()) as driver:
        await serves(driver, "a")
        await asyncio.gather(*(serves(driver, "b") for _ in range(5)))
        await serves(driver, "a")
    told = [each.getMessage() for each in caplog.records if ": waits for " in each.getMessage()]
    assert [each.partition(" for 0.")[0] for each in told] == [
        "b: waits for a, which is kept awake by its min_awake",
        "a: waits for b, which is kept awake by its min_awake",
    ]


async def test_under_contention_everybody_is_served_in_the_end(driving, make_hands):
    names = ("a", "b", "c")
    async with driving(2, **{name: make_hands() for name in names}) as driver, asyncio.timeout(30):
        await asyncio.gather(*(serves(driver, name) for _ in range(10) for name in names))
        awake = [each for each in driver.replicas if isinstance(each.state, Running)]
        assert len(awake) <= 2


async def test_when_nobody_can_sleep_the_newcomer_is_told_and_sleeps_on(driving, make_hands, stored):
    a = make_hands(broken={"dump"})
    b = make_hands(stored=stored)
    async with driving(1, a=a, b=b) as driver:
        await serves(driver, "a")
        with pytest.raises(ModelUnavailable, match=r"no room for b: .* a could not be put to sleep"):
            await serves(driver, "b")
        assert isinstance(only(driver, "a").state, Running)
        assert isinstance(only(driver, "b").state, Asleep)


@pytest.mark.parametrize("step", ["cold_start", "dump", "restore"])
async def test_stopping_ends_what_is_under_way_and_refuses_who_waits(driving, make_hands, stored, step):
    hands = make_hands(gates={step: asyncio.Event()}, stored=stored if step == "restore" else None)
    async with driving(m=hands) as driver:
        waiting = []
        if step == "dump":
            await serves(driver)
            waiting.append(soon(driver.sleep("m")))
            await until(lambda: isinstance(only(driver, "m").state, GoingToSleep))
        waiting.append(soon(serves(driver)))
        await until(lambda: isinstance(only(driver, "m").state, GoingToSleep | Starting | Waking))
        async with asyncio.timeout(30):
            await driver.close()
        waiting.append(soon(serves(driver)))
        for refused in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(refused, ModelUnavailable)
            assert "stopping" in str(refused)


async def test_a_sleep_for_another_escalates_where_it_fails(driving, make_hands):
    a, b = make_hands(broken={"dump"}), make_hands()
    async with driving(1, rules={"escalation": (STOP,)}, a=a, b=b) as driver:
        await serves(driver, "a")
        await serves(driver, "b")
        assert only(driver, "a").state.eviction == STOP
        assert only(driver, "a").state.problem.message == "dump is broken"


async def test_a_light_sleep_is_deepened_without_a_wake(driving, make_hands):
    hands = make_hands()
    async with driving(m=hands) as driver:
        await serves(driver)
        await driver.sleep("m", WARM)
        await driver.sleep("m")
        assert only(driver, "m").state.eviction == hands.eviction
        assert hands.lives[0].closed
        await driver.sleep("m", STOP)
        assert only(driver, "m").stored is None
        assert await serves(driver) == 2
        assert only(driver, "m").last_wake.kind is WakeKind.COLD_START


@pytest.mark.parametrize(("deeper", "step"), [(Process.CHECKPOINT, "dump"), (Process.STOP, "forget")])
async def test_a_sleep_that_cannot_be_deepened_stays_as_it_is(driving, make_hands, deeper, step):
    hands = make_hands()
    async with driving(m=hands) as driver:
        await serves(driver)
        await driver.sleep("m", WARM if deeper is Process.CHECKPOINT else None)
        before = only(driver, "m").state.eviction
        hands.broken.add(step)
        with pytest.raises(ModelUnavailable, match=f"{step} is broken"):
            await driver.sleep("m", Eviction(Weights.DISCARD, deeper))
        assert only(driver, "m").state.eviction == before
        hands.broken.clear()
        await serves(driver)


async def test_a_model_that_was_put_to_sleep_by_hand_is_not_woken_again_by_its_preload(driving, make_hands):
    async with driving(rules={"preload": True}, m=make_hands()) as driver:
        await until(lambda: isinstance(only(driver, "m").state, Running))
        await driver.sleep("m")
        await asyncio.sleep(0.02)
        assert isinstance(only(driver, "m").state, Asleep)
        await serves(driver)


async def test_a_checkpoint_that_is_still_good_is_not_made_again(driving, make_hands, stored):
    hands = make_hands(again=stored, broken={"quieten", "dump"})
    async with driving(m=hands) as driver:
        await serves(driver)
        await driver.sleep("m")
        assert isinstance(only(driver, "m").state, Asleep)
        assert only(driver, "m").stored == stored
        assert hands.lives[0].closed


async def test_an_engine_that_was_left_running_serves_at_once_and_its_end_is_noticed(driving, make_hands):
    hands = make_hands(left=(None,))
    async with driving(m=hands) as driver:
        assert isinstance(only(driver, "m").state, Running)
        assert await serves(driver) == 1
        hands.lives[0].die()
        await until(lambda: isinstance(only(driver, "m").state, Failed))


async def test_an_engine_that_was_left_asleep_sleeps_on_and_wakes_warm(driving, make_hands, stored):
    hands = make_hands(left=(WARM,), stored=stored)
    async with driving(m=hands) as driver:
        assert only(driver, "m").state.eviction == WARM
        assert only(driver, "m").stored == stored
        assert await serves(driver) == 1
        assert only(driver, "m").last_wake.kind is WakeKind.WARM


async def test_a_sleep_that_is_refused_keeps_nobody_from_waking_the_model(make_driver, make_hands):
    hands = make_hands(gates={"cold_start": asyncio.Event()})
    driver = make_driver({"m": hands}, preload=True)
    await driver.open()
    try:
        await until(lambda: isinstance(only(driver, "m").state, Starting))
        with pytest.raises(IllegalMove):
            await driver.sleep("m")
        assert not driver.models["m"].at_rest_by_hand
        hands.gates["cold_start"].set()
        await until(lambda: isinstance(only(driver, "m").state, Running))
        await driver.sleep("m")
        assert driver.models["m"].at_rest_by_hand
    finally:
        await driver.close()
