"""A request as those see it who look on: each end that it can have is told once, with what is known by then."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from llmux.server import _app, _web
from llmux.server._happenings import Outcome, RequestAdmitted, RequestFinished, RequestQueued, Tokens
from llmux.server._request_log import CLIENT_GONE

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own

USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


class Upstream:
    """An engine whose answers may wait for `go_on`, and end in the midst."""

    def __init__(self) -> None:
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/completions", self.complete)
        app.router.add_post("/v1/half", self.half)
        app.router.add_post("/v1/never", self.never)
        return app

    async def complete(self, _request: web.Request) -> web.Response:
        return web.json_response({"usage": USAGE, "choices": []})

    async def half(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"the first ha")
        self.asked.set()
        await self.go_on.wait()
        request.transport.close()
        return response

    async def never(self, _request: web.Request) -> web.Response:
        self.asked.set()
        await asyncio.Event().wait()


@pytest.fixture
async def upstream():
    return Upstream()


@pytest.fixture
async def llmux(serve, make_driver, make_hands, upstream):
    """Give a session to an llmux with one model, and what it publishes of requests."""
    app = _app.build(make_driver({"m": make_hands(await serve(upstream.app()))}))
    told = []
    with app[_web.DRIVER].bus.subscribed(lambda entry: told.append(entry.happening)):
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
            yield session, told
        await runner.cleanup()


async def finished(told, count=1):
    async with asyncio.timeout(30):
        while len(ends := [each for each in told if isinstance(each, RequestFinished)]) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return ends[-1]


async def test_an_answer_is_told_from_its_arrival_to_its_end(llmux):
    session, told = llmux
    async with session.post("/v1/completions", json={"model": "m"}) as response:
        await response.read()
    end = await finished(told)
    of_it = [each for each in told if isinstance(each, RequestQueued | RequestAdmitted | RequestFinished)]
    assert [type(each) for each in of_it] == [RequestQueued, RequestAdmitted, RequestFinished]
    assert {(each.request, each.request_id) for each in of_it} == {(end.request, end.request)}
    assert end.request == response.headers["X-Request-ID"]
    assert (end.model, end.replica, end.path, end.method) == ("m", "m", "/v1/completions", "POST")
    assert (end.status, end.outcome, end.code, end.wake) == (200, Outcome.ANSWERED, "", "cold")
    assert 0 < end.queued <= end.first_byte <= end.seconds
    assert end.tokens == Tokens(3, 5)


async def test_an_id_that_its_client_has_chosen_is_told_beside_its_own(llmux):
    session, told = llmux
    for count in (1, 2):
        async with session.post("/v1/completions", json={"model": "m"}, headers={"X-Request-ID": "mine"}):
            await finished(told, count)
    ids = {(each.request, each.request_id) for each in told if isinstance(each, RequestFinished)}
    assert len(ids) == 2
    assert {request_id for _, request_id in ids} == {"mine"}


async def test_one_that_is_refused_is_told_with_its_code(llmux):
    session, told = llmux
    async with session.post("/v1/completions", json={"model": "other"}) as response:
        assert response.status == 404
    end = await finished(told)
    assert (end.model, end.replica, end.wake, end.first_byte) == ("", "", "", None)
    assert (end.status, end.outcome, end.code) == (404, Outcome.REFUSED, "model_not_found")


async def test_an_answer_that_is_broken_off_is_told_with_the_reason(llmux, upstream):
    session, told = llmux
    upstream.go_on.set()
    with pytest.raises(aiohttp.ClientError):
        async with session.post("/v1/half", json={"model": "m"}) as response:
            await response.read()
    end = await finished(told)
    assert (end.status, end.outcome, end.code) == (200, Outcome.BROKEN_OFF, "engine_gone")


@pytest.mark.parametrize(("path", "status"), [("/v1/never", CLIENT_GONE), ("/v1/half", 200)])
async def test_a_client_that_goes_is_told(llmux, upstream, path, status):
    session, told = llmux
    asking = soon(session.post(path, json={"model": "m"}))
    await upstream.asked.wait()
    if path == "/v1/half":
        (await asking).close()
    else:
        asking.cancel()
    end = await finished(told)
    assert (end.status, end.outcome) == (status, Outcome.CLIENT_GONE)


async def test_what_asks_nothing_of_an_engine_is_no_request(llmux):
    session, told = llmux
    for path in ("/health", "/v1/models", "/control/status"):
        async with session.get(path) as response:
            await response.read()
    assert told == []
