"""A request's id on its way in and out, and the line that tells of it, which tells nothing of what was said."""

from __future__ import annotations

import asyncio
import json
import logging
from contextvars import copy_context
from io import StringIO

import aiohttp
import pytest
from aiohttp import web

from llmux.server import _app, _request_log, _web
from llmux.server._gate import GATE
from llmux.server._logs import REQUEST, LogFormat, formatter
from llmux.server.access.keys import Key, digest
from llmux.server.access.policy import Access
from llmux.server.simulate import access_log

CHAT = "/v1/chat/completions"
SECRET = "planted-3f9c"
soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own


class Engine:
    """An engine that keeps the ids that it was asked with."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.asked = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.ids.append(",".join(request.headers.getall("x-request-id", [])))
        if request.path == "/v1/slow":
            self.asked.set()
            await asyncio.sleep(30)
        if request.path == "/v1/half":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"the first ha")
            await asyncio.sleep(30)
        return web.json_response({"said": SECRET}, headers={"x-request-id": "the-engines-own"})


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
async def client(serve, make_driver, make_hands, engine):
    upstream = web.Application()
    upstream.router.add_route("*", "/{path:.*}", engine.answer)
    app = _app.build(make_driver({"m": make_hands(await serve(upstream))}))
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
        session.app_ = app
        yield session
    await runner.cleanup()


@pytest.fixture
def lines():
    """Give a function that returns the log's lines so far, as objects; the test's server has an access log that llmux has not."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(lambda record: record.name != "aiohttp.access")
    handler.setFormatter(formatter(LogFormat.JSON, terminal=False))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


def told(lines):
    return [line for line in lines() if line["logger"] == "llmux.server._request_log"]


async def ask(client, path=CHAT, request_id=None, **body):
    headers = {} if request_id is None else {"X-Request-ID": request_id}
    async with client.post(path, json={"model": "m", **body}, headers=headers) as response:
        await response.read()
        return response


async def test_a_sane_id_goes_in_and_out_and_to_the_engine(client, engine, lines):
    response = await ask(client, request_id="trace:01/a_b.c")
    assert response.headers.getall("X-Request-ID") == ["trace:01/a_b.c"]
    assert engine.ids == ["trace:01/a_b.c"]
    assert told(lines)[-1]["request_id"] == "trace:01/a_b.c"


@pytest.mark.parametrize("given", [None, "", " ", "a b", "x" * 129, 'a"', "é", "-x"])
async def test_one_that_is_none_is_replaced(client, engine, given):
    made = (await ask(client, request_id=given)).headers["X-Request-ID"]
    assert len(made) == 32
    assert engine.ids == [made]
    assert (await ask(client, request_id=given)).headers["X-Request-ID"] != made


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/nowhere", 404), ("/v1/models/x", 404)])
async def test_every_answer_has_its_id(client, path, status):
    async with client.get(path, headers={"X-Request-ID": "mine"}) as response:
        assert (response.status, response.headers["X-Request-ID"]) == (status, "mine")


async def test_a_request_that_is_over_is_one_line(client, lines):
    await ask(client)
    (line,) = told(lines)
    assert line.pop("timestamp")
    assert line.pop("request_id")
    assert 0 <= line.pop("seconds") < 10
    assert 0 <= line.pop("queue_ms") < 10_000
    assert line.pop("bytes") >= len(json.dumps({"said": SECRET}))
    assert line == {
        "level": "info",
        "logger": "llmux.server._request_log",
        "message": "POST /v1/chat/completions: 200",
        "method": "POST",
        "path": CHAT,
        "model": "m",
        "status": 200,
        "wake": "cold",
        "client": "127.0.0.1",
    }


async def test_the_lines_are_a_trace_for_the_simulator(client, lines):
    for _ in range(3):
        await ask(client)
    requests, faults = access_log.parse(json.dumps(line) for line in lines())
    assert [(request.model, faults) for request in requests] == [("m", ())] * 3


async def test_what_is_refused_is_told_too_and_its_lines_bear_its_id(client, lines):
    client.app_[_web.DRIVER].models["m"].replicas[0].state = "no state at all"
    async with client.get("/control/status", headers={"X-Request-ID": "mine"}) as response:
        assert response.status == 500
    failed = [line for line in lines() if line.get("request_id") == "mine"]
    assert [line["message"] for line in failed] == [
        "GET /control/status failed unforeseen",
        "GET /control/status: 500",
    ]


async def test_what_outlives_a_request_is_not_told_as_its(client, lines):
    await ask(client, request_id="mine")
    moves = {line["message"]: line.get("request_id") for line in lines() if " -> " in line["message"]}
    assert moves["m: starting -> running"] is None
    assert "mine" not in [line.get("request_id") for line in lines() if "in " in line["message"]]


async def line_of(lines, path):
    async with asyncio.timeout(30):
        while not (ended := [line for line in told(lines) if line["path"] == path]):  # noqa: ASYNC110 - the server's own task has no event here
            await asyncio.sleep(0.01)
    return ended[-1]


async def test_who_leaves_before_anything_was_sent_is_told_as_499(client, engine, lines):
    asking = soon(client.post("/v1/slow", json={"model": "m"}))
    await engine.asked.wait()
    asking.cancel()
    line = await line_of(lines, "/v1/slow")
    assert (line["message"], line["status"], line["client_gone"]) == ("POST /v1/slow: 499", 499, True)
    assert not {"bytes", "wake"} & set(line)


async def test_who_leaves_amid_an_answer_is_told_with_the_status_that_was_sent(client, lines):
    response = await client.post("/v1/half", json={"model": "m"})
    assert await response.content.readany() == b"the first ha"
    response.close()
    line = await line_of(lines, "/v1/half")
    assert line["message"] == "POST /v1/half: 200, the client has left"
    assert (line["status"], line["client_gone"], line["wake"]) == (200, True, "cold")
    assert line["bytes"] > len(b"the first ha")
    assert line["queue_ms"] >= 0


async def test_who_leaves_a_stream_of_events_is_no_failure(client, lines):
    (await client.get("/control/events")).close()
    line = await line_of(lines, "/control/events")
    assert (line["level"], line["status"], line["client_gone"]) == ("debug", 200, True)


async def test_health_is_a_line_only_for_who_wants_them_all(client, lines):
    async with client.get("/health"):
        pass
    assert [line["level"] for line in told(lines)] == ["debug"]


async def test_nothing_that_was_said_is_logged(client, lines):
    headers = {"Authorization": f"Bearer {SECRET}", "X-Api-Key": SECRET, "Cookie": SECRET}
    body = {"model": "m", "prompt": SECRET, "user": SECRET}
    async with client.post(f"/v1/completions?key={SECRET}", json=body, headers=headers) as response:
        assert SECRET in await response.text()
    async with client.post("/v1/completions", data=SECRET.encode(), headers=headers) as response:
        assert response.status == 400
    async with client.post("/v1/completions", json={"model": SECRET}) as response:
        assert response.status == 404
    assert len(told(lines)) == 3
    assert SECRET not in json.dumps(lines())


async def test_no_key_is_logged_whichever_way_it_comes_and_whether_it_holds(client, lines):
    client.app_[GATE].take(Access.of([Key("team", digest(SECRET))]))

    async def ask_by(key, **headers):
        async with client.post(
            f"/v1/completions?key={key}", json={"model": "m"}, headers=headers
        ) as response:
            return response.status

    async def talk_by(key):
        protocols = ("realtime", f"openai-insecure-api-key.{key}")
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.ws_connect("/v1/realtime?model=m", protocols=protocols)
        return caught.value.status

    refused = f"{SECRET}-refused"
    for key, asked, talked in ((SECRET, 200, 503), (refused, 401, 401)):
        assert await ask_by(key, Authorization=f"Bearer {key}") == asked
        assert await ask_by(key, **{"x-api-key": key}) == asked
        assert await talk_by(key) == talked
    assert await ask_by(refused, Authorization=refused, Cookie=refused) == 401
    assert [line["status"] for line in told(lines)] == [200, 200, 503, 401, 401, 401, 401]
    assert SECRET not in json.dumps(lines())
    assert digest(SECRET).hex() not in json.dumps(lines())


def test_an_id_of_another_request_is_left_behind():
    within = copy_context()
    within.run(REQUEST.set, "r-1")
    assert within.run(_request_log.outside_requests).run(REQUEST.get) == ""
