"""Models one by one, and requests: listed while they wait and are answered, and cancelled by hand."""

from __future__ import annotations

import asyncio
from functools import partial

import aiohttp
import pytest

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own


async def requests_of(house, query=""):
    return (await house.call("GET", f"/control/requests{query}")).json["requests"]


async def test_models_are_listed_and_shown(house):
    listed = (await house.call("GET", "/control/models")).json["models"]
    assert [each["name"] for each in listed] == ["m", "n"]
    shown = (await house.call("GET", "/control/models/n")).json
    assert (shown["name"], shown["state"], shown["pinned"]) == ("n", "not_started", False)
    assert (await house.call("GET", "/control/models/x")).status == 404


async def test_requests_are_listed_with_where_they_are(house):
    answered = soon(house.call("POST", "/v1/completions", {"model": "m"}))
    await house.engine.begun.wait()
    waiting = soon(house.call("POST", "/v1/completions", {"model": "n"}))
    while len(house.driver.models["n"].queue) == 0:  # noqa: ASYNC110 - nobody tells of a request that waits
        await asyncio.sleep(0)
    one, other = await requests_of(house)
    assert (one["model"], one["state"], one["replica"]) == ("m", "in_flight", "m")
    assert (other["model"], other["state"], other["replica"]) == ("n", "waiting", None)
    assert (one["method"], one["path"]) == ("POST", "/v1/completions")
    assert [each["id"] for each in await requests_of(house, "?model=n")] == [other["id"]]
    house.engine.go.set()
    assert {(await each).status for each in (answered, waiting)} == {200}
    assert await requests_of(house) == []


async def test_a_waiting_request_is_cancelled_with_an_error_that_clients_do_not_retry(house):
    held = house.hands["m"].gates["cold_start"] = asyncio.Event()
    waiting = soon(house.call("POST", "/v1/completions", {"model": "m"}))
    while not (listed := await requests_of(house)):
        pass
    done = await house.call("DELETE", f"/control/requests/{listed[0]['id']}")
    assert (done.status, done.json) == (200, {"id": listed[0]["id"], "model": "m"})
    refused = await waiting
    assert (refused.status, refused.json["error"]["code"]) == (503, "request_cancelled")
    assert refused.headers["x-should-retry"] == "false"
    held.set()


async def test_a_request_in_flight_is_cancelled_and_not_asked_again(house):
    answered = soon(house.call("POST", "/v1/completions", {"model": "m"}))
    await house.engine.begun.wait()
    (listed,) = await requests_of(house)
    assert (await house.call("DELETE", f"/control/requests/{listed['id']}")).status == 200
    assert (await answered).json["error"]["code"] == "request_cancelled"
    assert (await house.call("POST", "/control/sleep", {"model": "m"})).status == 200


async def test_a_stream_is_cancelled_by_an_error_event_and_has_no_proper_end(house):
    async with house.session.post("/v1/completions", json={"model": "m", "stream": True}) as response:
        assert await response.content.readuntil(b"\n\n") == b"data: first\n\n"
        (listed,) = await requests_of(house)
        await house.call("DELETE", f"/control/requests/{listed['id']}")
        assert b'"code": "request_cancelled"' in await response.content.readuntil(b"\n\n")
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()


async def test_what_a_client_calls_its_request_is_told_and_cancels_nobody_elses(house):
    held = house.hands["m"].gates["cold_start"] = asyncio.Event()
    ask = partial(
        house.session.post, "/v1/completions", json={"model": "m"}, headers={"X-Request-ID": "mine"}
    )
    one, other = soon(ask()), soon(ask())
    while len(listed := await requests_of(house)) < 2:
        pass
    assert [each["request_id"] for each in listed] == ["mine", "mine"]
    assert (await house.call("DELETE", "/control/requests/mine")).status == 404
    assert (await house.call("DELETE", f"/control/requests/{listed[0]['id']}")).status == 200
    house.engine.go.set()
    held.set()
    assert sorted([(await each).status for each in (one, other)]) == [200, 503]
    assert {each.result().headers["X-Request-ID"] for each in (one, other)} == {"mine"}


async def test_an_id_of_llmuxs_own_is_the_same_everywhere(house):
    answered = soon(house.call("POST", "/v1/completions", {"model": "m"}))
    await house.engine.begun.wait()
    (listed,) = await requests_of(house)
    house.engine.go.set()
    assert (await answered).headers["X-Request-ID"] == listed["id"] == listed["request_id"]
    told = {
        each.happening.request for each in house.driver.bus.since(0) if hasattr(each.happening, "request")
    }
    assert told == {listed["id"]}


async def test_what_is_not_there_cannot_be_cancelled(house):
    refused = await house.call("DELETE", "/control/requests/nothing")
    assert (refused.status, refused.json["error"]["code"]) == (404, "request_not_found")
    # A wake by hand has no id, and is none.
    assert (await house.call("DELETE", "/control/requests/")).status == 404
