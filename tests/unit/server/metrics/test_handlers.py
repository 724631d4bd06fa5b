"""What llmux shows of itself: each figure moves with what it is the figure of."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web

from llmux.server import _app, metrics
from llmux.server._happenings import ConfigurationReloaded
from llmux.server._model import STATE_NAMES, Eviction, Failed, Process, Weights
from llmux.server.errors import AddressTaken, ModelUnavailable, Problem

DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
USAGE = {"usage": {"prompt_tokens": 3, "completion_tokens": 5}}

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own


async def answer(_request: web.Request) -> web.Response:
    return web.json_response(USAGE)


@pytest.fixture
async def engine(serve):
    app = web.Application()
    app.router.add_post("/v1/{path:.*}", answer)
    return await serve(app)


async def test_a_request_is_counted_by_its_status_wake_and_paths_with_its_times_and_tokens(
    watch, make_hands, engine
):
    it = await watch({"m": make_hands(engine)})
    assert [await it.ask() for _ in range(3)] == [200] * 3
    assert await it.ask("m", "/v1/responses/abc/cancel") == 200
    assert await it.ask("m", "/v1/made/up") == 200
    assert await it.ask("nobody") == 404
    now = await it.figures()
    assert now.of("llmux_requests_total", api="completions", code="200", wake="cold") == 1
    assert now.of("llmux_requests_total", api="completions", code="200", wake="warm") == 2
    assert now.of("llmux_requests_total", api="responses") == 1
    assert now.of("llmux_requests_total", api="other") == 1
    assert now.of("llmux_requests_total", model="", code="404", wake="none") == 1
    assert now.of("llmux_request_outcomes_total", outcome="answered") == 5
    assert now.of("llmux_request_outcomes_total", outcome="refused", model="") == 1
    assert now.of("llmux_failures_total", what="request", code="model_not_found") == 1
    assert now.of("llmux_tokens_total", model="m", kind="prompt") == 15
    assert now.of("llmux_tokens_total", model="m", kind="completion") == 25
    assert now.of("llmux_time_to_first_token_seconds_count", model="m") == 5
    assert now.of("llmux_request_wait_seconds_count", model="m", wake="warm") == 4
    assert {each.labels["model"] for each in now.samples if "model" in each.labels} == {"m", ""}


async def test_who_waits_and_who_is_answered_is_shown_as_it_is(watch, make_hands):
    hands = make_hands(gates={"cold_start": asyncio.Event()})
    it = await watch({"m": hands})
    asking = [soon(it.driver.wake("m")) for _ in range(3)]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        while (now := await it.figures()).of("llmux_requests_waiting", model="m") != 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert now.of("llmux_replica_state", state="starting") == 1
    hands.gates["cold_start"].set()
    await asyncio.gather(*asking)
    async with it.driver.admit("m"):
        now = await it.figures()
    assert now.of("llmux_requests_in_flight", model="m", replica="m") == 1
    assert now.of("llmux_requests_waiting") == 0


async def test_a_replica_has_one_state_of_all(watch, make_hands):
    it = await watch({"m": [make_hands(), make_hands()]})
    now = await it.figures()
    for replica in ("m", "m@2"):
        states = {
            each.labels["state"]: each.value for each in now.having("llmux_replica_state", replica=replica)
        }
        assert states == {state: float(state == "not_started") for state in STATE_NAMES}
        assert now.of("llmux_replica_state_age_seconds", replica=replica) > 0


async def test_sleeps_and_wakes_are_counted_and_timed_by_depth_kind_and_phase(watch, make_hands, stored):
    it = await watch({"m": make_hands()})
    await it.driver.wake("m")
    await it.driver.sleep("m", DISK)
    await it.driver.wake("m")
    now = await it.figures()
    assert now.of("llmux_sleeps_total", weights="discard", process="checkpoint", result="done") == 1
    assert now.of("llmux_sleep_seconds_count", process="checkpoint") == 1
    assert now.of("llmux_sleep_phase_seconds_count", phase="dump") == 1
    assert now.of("llmux_wakes_total", kind="cold_start", result="done") == 1
    assert now.of("llmux_wakes_total", kind="restored", result="done") == 1
    assert now.of("llmux_wake_seconds_count", kind="restored") == 1
    assert now.of("llmux_checkpoints_total", event="made") == 1
    assert now.of("llmux_checkpoint_bytes", replica="m") == stored.size_bytes
    assert now.of("llmux_state_changes_total", before="going_to_sleep", after="asleep") == 1
    assert now.of("llmux_decisions_total", who="control", what="sleep") == 1


async def test_the_drain_before_a_sleep_is_a_phase_of_it(watch, make_hands):
    it = await watch({"m": make_hands()})
    async with it.driver.admit("m"):
        sleeping = soon(it.driver.sleep("m"))
        await asyncio.sleep(0.02)
    await sleeping
    now = await it.figures()
    assert now.of("llmux_sleep_phase_seconds_sum", phase="drain") > 0.01  # it begins a moment after the timer


async def test_failures_are_counted_from_nought_by_what_failed_and_their_code(watch, make_hands):
    hands = make_hands(broken={"dump"})
    it = await watch({"m": hands})
    before = await it.figures()
    assert [each.value for each in before.having("llmux_engine_losses_total", model="m")] == [0]
    assert before.having("llmux_wakes_total", model="m", kind="restored", result="failed")
    await it.driver.wake("m")
    with pytest.raises(ModelUnavailable):
        await it.driver.sleep("m", DISK)
    hands.lives[0].die()
    async with asyncio.timeout(30):
        while not isinstance(it.driver.models["m"].replicas[0].state, Failed):  # noqa: ASYNC110
            await asyncio.sleep(0)
    await it.driver.wake("m")
    now = await it.figures()
    assert now.of("llmux_sleeps_total", result="failed") == 1
    assert now.of("llmux_failures_total", what="sleep", code="start_refused") == 1
    assert now.of("llmux_failures_total", what="engine", code="engine_exited") == 1
    assert now.of("llmux_engine_losses_total") == now.of("llmux_engine_restarts_total") == 1


async def test_a_switch_is_another_model_that_comes_to_serve(watch, make_hands):
    it = await watch({"a": make_hands(), "b": make_hands()}, max_awake=1)
    for model in ("a", "a", "b", "a"):
        await it.driver.wake(model)
    now = await it.figures()
    assert [now.of("llmux_switches_total", model=model) for model in "ab"] == [1, 1]
    assert now.of("llmux_budget_capacity", resource="awake") == 1
    assert now.of("llmux_budget_held", resource="awake") == 1


async def test_a_model_that_is_gone_is_forgotten(watch, make_hands):
    it = await watch({"a": make_hands(), "b": make_hands()})
    await it.driver.wake("b")
    assert (await it.figures()).having("llmux_wakes_total", model="b")
    del it.driver.models["b"]
    now = await it.figures()
    assert [each for each in now.samples if each.labels.get("model") == "b"] == []
    assert now.having("llmux_wakes_total", model="a")


async def test_a_refused_reload_shows_until_one_is_taken(watch, make_hands):
    it = await watch({"m": make_hands()})
    assert (await it.figures()).of("llmux_config_last_reload_successful") == 1
    for problem, successful in ((Problem("config_invalid", "no"), 0), (None, 1)):
        it.driver.bus.publish(ConfigurationReloaded(problem=problem))
        assert (await it.figures()).of("llmux_config_last_reload_successful") == successful
    now = await it.figures()
    assert now.of("llmux_config_last_reload_success_timestamp_seconds") > 1.7e9
    assert now.of("llmux_config_reloads_total", result="failed") == 1


async def test_llmux_tells_of_its_own_process_and_end(watch, make_hands):
    it = await watch({"m": make_hands()})
    now = await it.figures()
    assert now.of("process_resident_memory_bytes") > 1 << 20
    assert now.of("llmux_build_info") == 1
    assert now.of("llmux_stopping") == 0
    it.driver.refuse_all()
    assert (await it.figures()).of("llmux_stopping") == 1


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


async def test_the_port_for_metrics_has_them_and_nothing_else(serve, make_driver, make_hands, free_port):
    app = _app.build(make_driver({"m": make_hands()}))
    metrics.listen(app, "127.0.0.1", free_port)
    await serve(app)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{free_port}") as session:
        async with session.get("/metrics") as response:
            assert "llmux_build_info{" in await response.text()
        for path in ("/control/status", "/v1/models", "/health"):
            async with session.get(path) as response:
                assert response.status == 404


async def test_a_port_for_metrics_that_is_taken_is_an_error_with_the_field(
    make_driver, make_hands, free_port
):
    with socket.create_server(("127.0.0.1", free_port)):
        app = _app.build(make_driver({"m": make_hands()}))
        metrics.listen(app, "127.0.0.1", free_port)
        runner = web.AppRunner(app)
        with pytest.raises(AddressTaken, match="metrics_port"):
            await runner.setup()
        await runner.cleanup()
