"""A WebSocket through llmux before a real engine: both ways, and every way that it ends."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from openai.types.realtime import RealtimeErrorEvent

from llmux.server import _app, _realtime
from llmux.server._gate import GATE
from llmux.server._happenings import Outcome, RequestFinished, Tokens
from llmux.server._model import Asleep, Running
from llmux.server.access.keys import Key, Limits, digest
from llmux.server.access.policy import Access

REALTIME = "/v1/realtime"


class Upstream:
    """An engine that echoes, and ends as its client says."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.code: int | None = None
        self.headers: dict[str, str] = {}
        self.query = ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get(REALTIME, self.talk)
        return app

    async def talk(self, request: web.Request) -> web.StreamResponse:
        self.headers, self.query = dict(request.headers), request.query_string
        socket = web.WebSocketResponse(protocols=("realtime",), max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            match message.data:
                case "end":
                    await socket.close(code=4000, message=b"enough")
                case "break":
                    request.transport.close()
                case bytes(data):
                    await socket.send_bytes(data)
                case data:
                    await socket.send_str(data)
        self.code = socket.close_code
        self.closed.set()
        return socket


@pytest.fixture
async def upstream():
    return Upstream()


@pytest.fixture
async def client(upstream, serve, make_driver, make_hands):
    url = await serve(upstream.app())
    driver = make_driver({"m": make_hands(url=url, drain_timeout=0.1), "other": make_hands()}, then="end")
    app = _app.build(driver)
    told = []
    with driver.bus.subscribed(lambda entry: told.append(entry.happening)):
        async with aiohttp.ClientSession(await serve(app)) as session:
            session.driver_, session.app_, session.told_ = driver, app, told
            yield session


def in_flight(client):
    return len(client.driver_.models["m"].replicas[0].flights)


async def finished(client):
    """Return what is told of the first request that is over."""
    async with asyncio.timeout(30):
        while not (ends := [each for each in client.told_ if isinstance(each, RequestFinished)]):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return ends[0]


async def last_words(socket):
    """Read to the end; return the error that was told as OpenAI's clients know it, if there was one, and the closing frame."""
    error = None
    async with asyncio.timeout(30):
        while True:
            message = await socket.receive()
            if message.type is not WSMsgType.TEXT:
                return error, message.data, message.extra
            told = RealtimeErrorEvent.model_validate_json(message.data)
            assert told.error.type == (
                "permission_error" if told.error.code == "permission_denied" else "server_error"
            )
            error = told.error.code


async def test_messages_pass_both_ways_and_count_as_one_request(client, upstream):
    asked = {"headers": {"Authorization": "Bearer t"}, "protocols": ("realtime", "other"), "max_msg_size": 0}
    async with client.ws_connect(f"{REALTIME}?model=m&x=1", **asked) as socket:
        assert socket.protocol == "realtime"
        await socket.send_str("héllo")
        await socket.send_bytes(b"\xff" * (5 << 20))
        assert (await socket.receive()).data == "héllo"
        assert (await socket.receive()).data == b"\xff" * (5 << 20)
        assert in_flight(client) == 1
        assert isinstance(client.driver_.models["m"].replicas[0].state, Running)
        await socket.close(code=4001, message=b"bye")
    async with asyncio.timeout(30):
        await upstream.closed.wait()
        while in_flight(client):  # noqa: ASYNC110 - it is counted out a moment later
            await asyncio.sleep(0.001)
    assert upstream.code == 4001
    assert upstream.headers["Authorization"] == "Bearer t"
    assert upstream.query == "model=m&x=1"


@pytest.mark.parametrize(
    ("last", "outcome", "code"),
    [
        # A masked closing frame with 1000 (RFC 6455).
        (b"\x88\x82\0\0\0\0\x03\xe8", Outcome.ANSWERED, 1000),
        (b"", Outcome.CLIENT_GONE, 1001),
    ],
    ids=["goodbye", "none"],
)
async def test_a_client_that_hangs_up_was_answered_and_has_gone_too_early_only_without_a_goodbye(  # noqa: PLR0917
    client, upstream, caplog, last, outcome, code
):
    caplog.set_level(logging.INFO, "llmux")
    url = client._base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        f"GET {REALTIME}?model=m HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    writer.write(last)
    writer.close()
    end = await finished(client)
    assert (end.status, end.outcome, end.code) == (101, outcome, "")
    async with asyncio.timeout(30):
        await upstream.closed.wait()
    assert upstream.code == code
    (line,) = (each for each in caplog.records if each.name.endswith("_request_log"))
    assert line.status == 101
    assert line.getMessage().endswith("the client has left") is (outcome is Outcome.CLIENT_GONE)


async def test_the_engines_ending_reaches_the_client(client):
    async with client.ws_connect(f"{REALTIME}?model=m") as socket:
        await socket.send_str("end")
        assert await last_words(socket) == (None, 4000, "enough")


async def test_an_engine_that_breaks_off_is_told_of_by_an_event_and_a_code(client):
    async with client.ws_connect(f"{REALTIME}?model=m") as socket:
        await socket.send_str("break")
        error, code, reason = await last_words(socket)
    assert (error, code) == ("engine_gone", 1011)
    assert reason.startswith("engine_gone: ")
    end = await finished(client)
    assert (end.status, end.outcome, end.code) == (101, Outcome.BROKEN_OFF, "engine_gone")


async def test_a_sleep_ends_it_once_the_drain_is_over(client):
    async with client.ws_connect(f"{REALTIME}?model=m") as socket:
        await client.driver_.sleep("m")
        error, code, _ = await last_words(socket)
    assert (error, code) == ("drain_timeout", 1001)
    assert (await finished(client)).outcome is Outcome.BROKEN_OFF
    assert isinstance(client.driver_.models["m"].replicas[0].state, Asleep)


async def test_an_engine_that_dies_ends_it(client):
    async with client.ws_connect(f"{REALTIME}?model=m") as socket:
        client.driver_.models["m"].replicas[0].life.die()
        _, code, _ = await last_words(socket)
    assert code == 1012


async def test_a_fault_of_llmux_ends_it_as_an_error_ends_it(client, monkeypatch):
    monkeypatch.setattr(_realtime, "spend", None)
    async with client.ws_connect(f"{REALTIME}?model=m") as socket:
        await socket.send_str("hello")
        error, code, _ = await last_words(socket)
    assert (error, code) == ("internal_error", 1011)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{REALTIME}?model=nope", 404),
        (REALTIME, 400),
        (f"{REALTIME}?model=other", 503),
        ("/v1/responses?model=m", 501),
    ],
)
async def test_what_cannot_be_is_refused_before_the_handshake(client, path, status):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect(path)
    assert caught.value.status == status


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "null"])
async def test_no_page_of_another_origin_opens_one(client, origin):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await client.ws_connect(f"{REALTIME}?model=m", origin=origin)
    assert caught.value.status == 403
    own = str(client._base_url).rstrip("/")
    client.app_[GATE].take(Access.of(origins=("https://chat.example",)))
    for welcome in (own, "https://chat.example"):
        async with client.ws_connect(f"{REALTIME}?model=m", origin=welcome) as socket:
            await socket.send_str("hello")
            assert (await socket.receive()).data == "hello"


async def test_a_key_in_the_subprotocols_is_for_llmux_alone(client, upstream):
    client.app_[GATE].take(Access.of([Key("k", digest("secret"))]))
    offered = ("realtime", "openai-insecure-api-key.secret")
    async with client.ws_connect(f"{REALTIME}?model=m", protocols=offered) as socket:
        assert socket.protocol == "realtime"
    assert "secret" not in str(upstream.headers)


async def test_the_tokens_of_each_response_are_taken_as_it_ends(client):
    client.app_[GATE].take(Access.of([Key("k", digest("k"), limits=Limits(tokens=100))]))
    asking = {"headers": {"x-api-key": "k"}}
    async with client.ws_connect(f"{REALTIME}?model=m", **asking) as socket:
        for _ in range(3):
            await socket.send_str('{"type": "response.done", "usage": {"total_tokens": 40}}')
            await socket.receive()
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.ws_connect(f"{REALTIME}?model=m", **asking)
    assert caught.value.status == 429


async def test_the_tokens_of_all_its_responses_are_told_when_it_is_over(client):
    async with client.ws_connect(f"{REALTIME}?model=m") as socket:
        for output in (5, 7):
            await socket.send_json(
                {"usage": {"total_tokens": 3 + output, "input_tokens": 3, "output_tokens": output}}
            )
            await socket.receive()
    end = await finished(client)
    assert (end.outcome, end.code, end.tokens) == (Outcome.ANSWERED, "", Tokens(6, 12))


@pytest.mark.parametrize("models", [None, ("other",)])
async def test_a_key_that_is_gone_or_for_other_models_ends_it(client, monkeypatch, models):
    monkeypatch.setattr(_realtime, "_LOOK_EVERY", 0.01)
    gate = client.app_[GATE]
    gate.take(Access.of([Key("k", digest("k"))]))
    async with client.ws_connect(f"{REALTIME}?model=m", headers={"x-api-key": "k"}) as socket:
        await socket.send_str("hello")
        assert (await socket.receive()).data == "hello"
        gate.take(Access.of([Key("k", digest("k" if models else "new"), models=models)]))
        error, code, _ = await last_words(socket)
    assert (error, code) == ("permission_denied", 1008)


async def test_a_model_may_be_the_default_and_have_another_name(client, upstream):
    rules = client.driver_.models["m"].rules
    client.driver_.models["m"].rules = replace(rules, is_default=True, aliases=("org/m",))
    async with client.ws_connect(REALTIME):
        assert upstream.query == ""
    async with client.ws_connect(f"{REALTIME}?model=org/m"):
        assert upstream.query == "model=m"
