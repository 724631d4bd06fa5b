"""One try at an answer, before a real aiohttp engine: what a client gets when engines stall, fail and are put to sleep."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web

from llmux.server import _answer_time, _app, _journey, _relay
from llmux.server._model import Failed, Running
from llmux.server._rules import AfterDrain
from llmux.server.scheduling.snapshot import Wake

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own


ASKED = (
    b'POST /v1/bytes HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{"model": "m"}'
)


class Upstream:
    """An engine whose answers wait for `go_on`, and that fails the next `slams` requests."""

    def __init__(self) -> None:
        self.asked = 0
        self.slams = 0
        self.break_off = False
        self.go_on = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/stream", self.stream)
        app.router.add_post("/v1/bytes", self.half)
        app.router.add_post("/v1/amid", self.amid)
        app.router.add_post("/v1/flood", self.flood)
        app.router.add_post("/v1/error", self.error)
        app.router.add_route("*", "/v1/late", self.late)
        return app

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"n": 1}\n\n')
        await self.go_on.wait()
        if self.break_off:
            request.transport.close()
        await response.write(b"data: [DONE]\n\n")
        return response

    async def half(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"the first ha")
        await self.go_on.wait()
        await response.write(b"lf")
        return response

    async def amid(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"n": 1}\n\ndata: {"n": ')
        await self.go_on.wait()
        await response.write(b"2}\n\n")
        return response

    async def flood(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while not self.go_on.is_set():
            await response.write(b"data: " + bytes(65_536) + b"\n\n")
        return response

    async def error(self, _request: web.Request) -> web.Response:
        return web.Response(status=503, text="the worker is gone")

    async def late(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.slams:
            self.slams -= 1
            request.transport.close()
        else:
            await self.go_on.wait()
        return web.json_response({"answer": await request.text()})


@pytest.fixture
async def upstream():
    upstream = Upstream()
    yield upstream
    upstream.go_on.set()


@pytest.fixture
async def open_client(upstream, serve, make_driver, make_hands, monkeypatch):
    """Give a function that serves the model `m` by these rules; `drain` in seconds, as many replicas as said."""
    monkeypatch.setattr(_answer_time, "_SECOND_LOOK", 0.01)
    monkeypatch.setattr(_relay, "_LAST_WORD", 0.1)
    sessions = []

    async def start(drain=5.0, replicas=1, **rules):
        url = await serve(upstream.app())
        hands = [make_hands(url=url, drain_timeout=drain) for _ in range(replicas)]
        driver = make_driver({"m": hands}, **rules)
        session = aiohttp.ClientSession(await serve(_app.build(driver)))
        sessions.append(session)
        session.driver_, session.replica_ = driver, driver.models["m"].replicas[0]
        return session

    yield start
    for session in sessions:
        await session.close()


def ask(client, path, **options):
    return client.post(path, json={"model": "m"}, **options)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the driver has no event for every state
            await asyncio.sleep(0.001)


async def told_by_event(response):
    """Read a stream to its end, which must not look like one; return what its error event says."""
    first, told = [await response.content.readuntil(b"\n\n") for _ in range(2)]
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.content.read()
    assert first == b'data: {"n": 1}\n\n'
    return json.loads(told.removeprefix(b"data: "))["error"]


async def test_an_answer_tells_how_long_it_waited_and_for_what(open_client, upstream):
    upstream.go_on.set()
    client = await open_client()
    for wake in ("cold", "warm"):
        async with ask(client, "/v1/late") as response:
            assert response.status == 200
            assert response.headers["x-llmux-wake"] == wake
            assert int(response.headers["x-llmux-queue-ms"]) >= 0
            assert "x-llmux-replica" not in response.headers


async def test_the_head_goes_with_the_first_piece(open_client):
    client = await open_client()
    reader, writer = await asyncio.open_connection(client._base_url.host, client._base_url.port)
    writer.write(ASKED.replace(b"bytes", b"stream").replace(b"/1.0", b"/1.1\r\nHost: m"))
    head, _, first = (await reader.read(65536)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert first == b'10\r\ndata: {"n": 1}\n\n\r\n'
    writer.close()


async def test_where_there_are_several_replicas_it_tells_which(open_client, upstream):
    upstream.go_on.set()
    async with ask(await open_client(replicas=2), "/v1/late") as response:
        assert response.headers["x-llmux-replica"] in {"m", "m@2"}


# ---- put to sleep while it answers ----


async def test_a_stream_that_outlasts_the_drain_ends_with_an_error_event_and_no_proper_end(open_client):
    client = await open_client(drain=0.02, then=AfterDrain.END)
    async with ask(client, "/v1/stream") as response:
        telling = soon(told_by_event(response))
        await client.driver_.sleep("m")
        error = await telling
        assert (error["code"], error["type"]) == ("drain_timeout", "server_error")


async def test_a_body_that_outlasts_the_drain_is_broken_off(open_client):
    client = await open_client(drain=0.02, then=AfterDrain.END)
    async with ask(client, "/v1/bytes") as response:
        await client.driver_.sleep("m")
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_client_of_http_1_0_sees_a_reset(open_client, upstream):
    client = await open_client(drain=0.02, then=AfterDrain.END)
    base = client._base_url
    reader, writer = await asyncio.open_connection(base.host, base.port)
    writer.write(ASKED)
    await reader.readuntil(b"the first ha")
    await client.driver_.sleep("m")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_a_client_that_does_not_read_holds_no_sleep_up(open_client):
    client = await open_client(drain=0.05, then=AfterDrain.END)
    base = client._base_url
    body = b'{"model": "m"}'
    with socket.create_connection((base.host, base.port)) as lazy:
        lazy.sendall(
            b"POST /v1/flood HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n"
            + body
        )
        await until(lambda: client.replica_.flights)
        async with asyncio.timeout(30):
            await client.driver_.sleep("m")


@pytest.mark.parametrize(("waits", "told"), [(0.2, True), (1.0, False)])
async def test_a_client_that_is_slow_has_a_moment_to_take_what_it_was_sent(
    waits, told, open_client, monkeypatch
):
    monkeypatch.setattr(_relay, "_LAST_WORD", 0.5)
    client = await open_client(drain=0.02, then=AfterDrain.END)
    base = client._base_url
    reader, writer = await asyncio.open_connection(base.host, base.port, limit=1)
    writer.write(
        b"POST /v1/flood HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n"
        b'{"model": "m"}'
    )
    await until(lambda: client.replica_.flights)
    await asyncio.sleep(0.1)  # until all buffers are full
    await client.driver_.sleep("m")
    await asyncio.sleep(waits)
    seen = b""
    with suppress(ConnectionResetError):
        while chunk := await reader.read(65_536):
            seen = (seen + chunk)[-1024:]
    writer.close()
    assert (b"drain_timeout" in seen) is told
    assert not seen.endswith(b"\r\n0\r\n\r\n")


async def test_a_stream_that_ends_amid_an_event_has_the_error_event_after_the_one_before(open_client):
    client = await open_client(drain=0.02, then=AfterDrain.END)
    async with ask(client, "/v1/amid") as response:
        telling = soon(told_by_event(response))
        await client.driver_.sleep("m")
        assert (await telling)["code"] == "drain_timeout"


async def test_an_answer_that_has_not_begun_is_given_after_the_next_wake(open_client, upstream):
    client = await open_client(drain=0.02, then=AfterDrain.END)
    answering = soon(ask(client, "/v1/late"))
    await until(lambda: upstream.asked == 1)
    await client.driver_.sleep("m")
    upstream.go_on.set()
    async with await answering as response:
        assert response.status == 200
        assert response.headers["x-llmux-wake"] == "restored"
        assert int(response.headers["x-llmux-queue-ms"]) >= 20  # the drain's time is in it
        assert (await response.json())["answer"] == '{"model": "m"}'
    assert upstream.asked == 2


async def test_an_answer_that_each_drain_cuts_off_is_given_up(open_client, upstream):
    client = await open_client(drain=0.02, then=AfterDrain.END)
    answering = soon(ask(client, "/v1/late"))
    for number in (1, 2, 3):
        await until(lambda number=number: upstream.asked == number)
        await client.driver_.sleep("m")
    async with await answering as response:
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "drain_timeout"
    assert upstream.asked == 3


# ---- engines that fail ----


async def test_a_request_that_an_engine_drops_is_asked_again(open_client, upstream):
    upstream.slams = 2
    upstream.go_on.set()
    async with ask(await open_client(), "/v1/late") as response:
        assert response.status == 200
    assert upstream.asked == 3


async def test_but_not_for_ever(open_client, upstream):
    upstream.slams = 10
    client = await open_client()
    async with ask(client, "/v1/late") as response:
        assert response.status == 502
        error = (await response.json())["error"]
        assert (error["type"], error["code"]) == ("server_error", "engine_gone")
    assert upstream.asked == 3
    assert isinstance(client.replica_.state, Running)


async def test_an_engine_that_ends_is_started_again_for_those_it_had_not_begun_to_answer(
    open_client, upstream
):
    client = await open_client()
    answering = [soon(ask(client, "/v1/late")) for _ in range(3)]
    await until(lambda: upstream.asked == 3)
    client.replica_.life.die()
    upstream.go_on.set()
    for each in answering:
        async with await each as response:
            assert (response.status, response.headers["x-llmux-wake"]) == (200, "cold")
    assert len(client.replica_.hands.lives) == 2


async def test_an_engine_that_ends_amid_a_stream_is_told_of_by_its_error_event(open_client):
    client = await open_client()
    async with ask(client, "/v1/stream") as response:
        telling = soon(told_by_event(response))
        client.replica_.life.die()
        error = await telling
        assert error["code"] == "engine_exited"
        assert "boom" in error["hint"]


async def test_one_that_drops_a_request_and_answers_health_no_more_is_lost(open_client, upstream):
    client = await open_client()
    async with client.driver_.admit("m"):
        pass
    client.replica_.life.deaf = True
    upstream.slams = 1
    upstream.go_on.set()
    async with ask(client, "/v1/late") as response:
        assert (response.status, response.headers["x-llmux-wake"]) == (200, "cold")


async def test_one_replica_that_is_lost_leaves_its_requests_to_the_other(open_client, upstream):
    client = await open_client(replicas=2)
    first, second = client.driver_.models["m"].replicas
    for replica in (second, first):
        client.driver_._act(Wake(replica.name, "the test wants it"))
    await until(lambda: isinstance(first.state, Running) and isinstance(second.state, Running))
    first.life.deaf = True
    upstream.slams = 1
    upstream.go_on.set()
    async with ask(client, "/v1/late") as response:
        assert (response.status, response.headers["x-llmux-replica"]) == (200, "m@2")
        assert response.headers["x-llmux-wake"] == "warm"


async def test_a_stream_that_its_engine_breaks_off_ends_with_an_error_event(open_client, upstream):
    client = await open_client()
    async with ask(client, "/v1/stream") as response:
        upstream.break_off = True
        upstream.go_on.set()
        error = await told_by_event(response)
    assert error["code"] == "engine_gone"
    assert error["message"].startswith("the engine broke off its answer: ")


async def test_a_fault_of_llmux_amid_an_answer_is_no_second_answer_within_it(
    open_client, upstream, monkeypatch
):
    client = await open_client()
    async with ask(client, "/v1/stream") as stream, ask(client, "/v1/bytes") as half:
        assert await half.content.readany() == b"the first ha"
        monkeypatch.setattr(_journey.UsageCount, "read", None)
        upstream.go_on.set()
        assert (await told_by_event(stream))["code"] == "internal_error"
        with pytest.raises(aiohttp.ClientPayloadError):
            await half.read()


@pytest.mark.parametrize(("deaf", "state"), [(False, Running), (True, Failed)])
async def test_an_engines_own_error_is_its_answer_and_has_it_examined(open_client, deaf, state):
    client = await open_client()
    async with client.driver_.admit("m"):
        pass
    client.replica_.life.deaf = deaf
    async with ask(client, "/v1/error") as response:
        assert (response.status, await response.text()) == (503, "the worker is gone")
    examined = client.driver_._vigil._examined["m"]
    await examined
    assert isinstance(client.replica_.state, state)


async def test_nobody_examines_an_engine_that_has_been_given_up(open_client):
    client = await open_client()
    async with client.driver_.admit("m") as admission:
        client.replica_.life.die()
        await admission.cut
        await until(lambda: client.replica_.life is None)
        assert client.driver_.suspect(admission, silent=True) is None


# ---- time ----


async def test_a_request_that_is_not_answered_in_its_time_is_a_504(open_client, upstream):
    client = await open_client(request_timeout=0.05)
    async with ask(client, "/v1/late") as response:
        assert response.status == 504
        assert (await response.json())["error"]["code"] == "request_timed_out"
    assert not client.replica_.flights


async def test_its_time_is_not_that_of_the_whole_answer(open_client, upstream):
    client = await open_client(request_timeout=1.0)
    async with client.driver_.admit("m"):
        pass
    async with ask(client, "/v1/stream") as response:
        await asyncio.sleep(1.1)
        upstream.go_on.set()
        assert (await response.read()).endswith(b"data: [DONE]\n\n")


async def test_a_stream_that_stalls_ends_with_an_error_event_while_a_healthy_engine_stays(open_client):
    client = await open_client(stall=0.02)
    async with ask(client, "/v1/stream") as response:
        assert (await told_by_event(response))["code"] == "engine_stalled"
    await until(lambda: not client.replica_.flights)
    assert isinstance(client.replica_.state, Running)


async def test_an_engine_that_stalls_and_answers_health_no_more_is_lost(open_client):
    client = await open_client(stall=0.05)
    async with client.driver_.admit("m"):
        client.replica_.life.deaf = True
    async with ask(client, "/v1/stream") as response:
        assert (await told_by_event(response))["code"] in {"engine_stalled", "engine_hung"}
    await until(lambda: isinstance(client.replica_.state, Failed))


async def test_a_stream_may_pause_for_ever_where_it_is_configured_so(open_client, upstream):
    client = await open_client(stall=None)
    async with ask(client, "/v1/stream") as response:
        await asyncio.sleep(0.05)
        upstream.go_on.set()
        assert (await response.read()).endswith(b"data: [DONE]\n\n")


async def test_bytes_that_came_while_llmux_stood_still_are_no_stall(open_client, upstream, monkeypatch):
    monkeypatch.setattr(_answer_time, "_SECOND_LOOK", 5.0)
    client = await open_client(stall=0.02)
    async with ask(client, "/v1/stream") as response:
        await asyncio.sleep(0.05)
        upstream.go_on.set()
        assert (await response.read()).endswith(b"data: [DONE]\n\n")


# ---- clients that leave ----


async def test_a_client_that_leaves_leaves_the_queue(open_client):
    client = await open_client()
    client.replica_.hands.gates["cold_start"] = asyncio.Event()
    asking = soon(ask(client, "/v1/late"))
    queue = client.driver_.models["m"].queue
    await until(lambda: len(queue) == 1)
    asking.cancel()
    await until(lambda: len(queue) == 0)
    client.replica_.hands.gates["cold_start"].set()
