"""The control calls, through the real application."""

from __future__ import annotations

from datetime import datetime

import aiohttp
import pytest

from llmux.server import _app
from llmux.server.errors import Problem
from llmux.server.scheduling.fair import Fair


@pytest.fixture
async def hands(make_hands):
    return make_hands()


@pytest.fixture
async def call(serve, make_driver, hands):
    """Give a function that makes one call and returns status and JSON."""
    base = await serve(_app.build(make_driver({"m": hands})))
    async with aiohttp.ClientSession(base) as session:

        async def make(method, path, body=None):
            async with session.request(method, path, json=body) as response:
                return response.status, await response.json()

        yield make


async def status_of(call):
    _, answer = await call("GET", "/control/status")
    return answer["models"]["m"]


async def test_health_is_llmuxs_own(call):
    assert await call("GET", "/health") == (200, {"status": "ok"})


async def test_the_status_before_anything_was_asked(call):
    status = await status_of(call)
    assert status["state"] == "not_started"
    assert datetime.fromisoformat(status["since"]).tzinfo
    assert status["engine"] is status["checkpoint"] is status["last_wake"] is status["problem"] is None


async def test_wake_sleep_wake(call):
    code, woken = await call("POST", "/control/wake", {"model": "m"})
    assert (code, woken["state"], woken["last_wake"]["kind"]) == (200, "running", "cold_start")
    assert woken["last_wake"]["reason"] == "it had not been started before"
    code, slept = await call("POST", "/control/sleep", {"model": "m"})
    assert (code, slept["state"]) == (200, "asleep")
    assert slept["checkpoint"] == {
        "path": "/images",
        "bytes": 7,
        "seconds": 0.5,
        "generation": 1,
        "created_at": "1970-01-01T00:16:40.000+00:00",
    }
    assert (await status_of(call))["checkpoint"] == slept["checkpoint"]
    _, woken = await call("POST", "/control/wake", {"model": "m"})
    assert woken["last_wake"]["kind"] == "restored"
    status = await status_of(call)
    assert (status["state"], status["in_flight"], status["held"]) == ("running", 0, 0)
    assert status["engine"]["pid"] == 1000


async def test_what_is_so_already_is_done_and_says_so(call):
    for path in ("/control/wake", "/control/sleep"):
        first, second = [await call("POST", path, {"model": "m"}) for _ in range(2)]
        assert [(code, told["already"]) for code, told in (first, second)] == [(200, False), (200, True)]
        assert {**first[1], "already": True, "seconds": 0} == {**second[1], "seconds": 0}


async def test_an_eviction_can_be_overridden_in_part(call, hands):
    await call("POST", "/control/wake", {"model": "m"})
    code, slept = await call(
        "POST", "/control/sleep", {"model": "m", "eviction": {"process": "keep_running"}}
    )
    assert (code, slept["checkpoint"]) == (200, None)
    assert slept["eviction"] == {"weights": "discard", "process": "keep_running"}
    assert hands.lives[0].asleep


async def test_a_stop_needs_no_word_about_weights(call):
    await call("POST", "/control/wake", {"model": "m"})
    body = {"model": "m", "eviction": {"process": "stop"}}
    assert (await call("POST", "/control/sleep", body))[0] == 200


@pytest.mark.parametrize(
    ("body", "code", "error_code", "says"),
    [
        ({"model": "x"}, 404, "model_not_found", "does not exist"),
        ({"model": "m"}, 409, "illegal_move", "not_started"),
        ({}, 400, "invalid_request", "model: is required and missing"),
        ({"modle": "m"}, 400, "invalid_request", "did you mean 'model'?"),
        ({"model": "m", "eviction": {"process": "stopp"}}, 400, "invalid_request", "did you mean 'stop'?"),
        (
            {"model": "m", "eviction": {"process": "stop", "weights": "retain"}},
            400,
            "invalid_request",
            "keeps no weights",
        ),
        ({"model": "m", "eviction": {"process": "cuda_suspend"}}, 400, "eviction_refused", "no driver"),
        ([], 400, "invalid_request", "it should be an object, and is []"),
    ],
)
async def test_a_wrong_sleep_is_refused(call, body, code, error_code, says):
    status, answer = await call("POST", "/control/sleep", body)
    assert (status, answer["error"]["code"]) == (code, error_code)
    assert says in answer["error"]["message"]


async def test_a_body_that_is_not_json_is_refused(call):
    status, answer = await call("POST", "/control/wake")
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert answer["error"]["message"].startswith("it is not JSON: EOF while parsing")


async def test_a_sleep_that_fails_says_why_and_the_model_runs(call, hands):
    await call("POST", "/control/wake", {"model": "m"})
    hands.broken.add("dump")
    status, answer = await call("POST", "/control/sleep", {"model": "m"})
    assert (status, answer["error"]["hint"]) == (503, "mend it")
    assert "dump is broken" in answer["error"]["message"]
    told = await status_of(call)
    assert (told["state"], told["problem"]["message"]) == ("running", "dump is broken")


async def test_an_invalid_checkpoint_is_in_the_status(serve, make_driver, make_hands):
    driver = make_driver({"m": make_hands(stored=Problem("damaged", "cut short", "remove it"))})
    base = await serve(_app.build(driver))
    async with aiohttp.ClientSession(base) as session, session.get("/control/status") as response:
        told = (await response.json())["models"]["m"]
    assert told["checkpoint_problem"] == {"code": "damaged", "message": "cut short", "hint": "remove it"}


async def test_the_status_says_what_the_node_has_and_why_a_model_moved(serve, make_driver, make_hands):
    driver = make_driver({"a": make_hands(), "b": make_hands()}, 1)
    base = await serve(_app.build(driver))
    async with aiohttp.ClientSession(base) as session:
        for name in ("a", "b"):
            await session.post("/control/wake", json={"model": name})
        async with session.get("/control/status") as response:
            told = await response.json()
    assert told["node"] == {
        "policy": "fifo",
        "mode": "auto",
        "draining": False,
        "longest_wait_seconds": None,
        "capacity": {"awake": 1},
        "held": {"awake": 1},
        "gpus": [],
        "gpus_at": None,
    }
    moved = told["models"]["a"]["last_move"]
    assert (moved["what"], moved["why"]) == ("sleep", "makes room for b")
    assert datetime.fromisoformat(moved["at"]).tzinfo


async def test_the_policy_fair_says_how_long_a_request_can_wait(serve, make_driver, make_hands):
    driver = make_driver({"m": make_hands()}, 1, policy=Fair(max_wait=10_000.0))
    base = await serve(_app.build(driver))
    async with aiohttp.ClientSession(base) as session, session.get("/control/status") as response:
        node = (await response.json())["node"]
    assert (node["policy"], node["longest_wait_seconds"]) == ("fair", 10_000.0)
    driver.set_mode(manual=True)
    async with aiohttp.ClientSession(base) as session, session.get("/control/status") as response:
        assert (await response.json())["node"]["longest_wait_seconds"] is None
