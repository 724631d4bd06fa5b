"""Each API's form of each error that llmux itself makes, read by the API's own client where it has one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import anthropic
import openai
import pytest
from aiohttp import web

from llmux.server import _app
from llmux.server._gate import Gate
from llmux.server._patience import Patience
from llmux.server.access.keys import Key, digest
from llmux.server.access.policy import Access

HI = [{"role": "user", "content": "Hi"}]
OPENAI = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/tokenize",
    "/rerank",
)
ANTHROPIC = ("/v1/messages", "/v1/messages/count_tokens")
KINDS = {
    400: ("invalid_request_error", "invalid_request_error"),
    401: ("invalid_request_error", "authentication_error"),
    403: ("permission_error", "permission_error"),
    404: ("invalid_request_error", "not_found_error"),
    408: ("invalid_request_error", "invalid_request_error"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("rate_limit_error", "rate_limit_error"),
    500: ("server_error", "api_error"),
    501: ("server_error", "api_error"),
    502: ("server_error", "api_error"),
    503: ("server_error", "overloaded_error"),
    504: ("server_error", "timeout_error"),
}
"""By status: what OpenAI's form calls it, and Anthropic's."""
MODELS = {
    403: "private",
    404: "nobody",
    429: "full",
    500: "odd",
    501: "bare",
    502: "slamming",
    503: "broken",
    504: "slow",
}
"""A model for each that is its model's."""
KEY = "the-key"
WAYS_IN = "/v1/models lists the models; /ui/ is a page for people; /openapi.json describes llmux's own calls"
CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "model_not_allowed",
    404: "model_not_found",
    408: "request_too_slow",
    413: "request_entity_too_large",
    429: "rate_limit_exceeded",
    500: "internal_error",
    501: "not_implemented",
    502: "engine_gone",
    503: "start_refused",
    504: "request_timed_out",
}


async def _slam(request: web.Request) -> web.Response:
    request.transport.close()
    return web.Response()


async def _never(_request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


async def _half(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(b'event: ping\ndata: {"type": "ping"}\n\n')
    request.transport.close()
    return response


def _engine(handler) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    return app


@pytest.fixture
async def llmux(serve, make_driver, make_hands, monkeypatch):
    monkeypatch.setattr(_app, "LARGEST_BODY", 1000)
    slow = make_hands(url=await serve(_engine(_never)))
    slow.gates["cold_start"] = asyncio.Event()
    full = make_hands()
    full.gates["cold_start"] = asyncio.Event()
    hands = {
        "full": full,
        "slow": slow,
        "bare": make_hands(url=await serve(web.Application())),
        "slamming": make_hands(url=await serve(_engine(_slam))),
        "half": make_hands(url=await serve(_engine(_half))),
        "odd": make_hands(),
        "private": make_hands(),
        "broken": make_hands(broken={"cold_start"}),
    }
    driver = make_driver(hands)
    odd = {"full": {"max_waiting": 0}, "slow": {"request_timeout": 0.05}, "odd": {"request_timeout": "soon"}}
    for name, rules in odd.items():
        driver.models[name].rules = replace(driver.models[name].rules, **rules)
    key = Key("k", digest(KEY), models=tuple({"nobody", *hands} - {"private"}))
    yield str(await serve(_app.build(driver, gate=Gate(Access.of([key]), Patience(seconds=0.2)))))
    for held in (slow, full):
        held.gates["cold_start"].set()


async def _never_whole() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.Event().wait()


def body_for(status: int) -> bytes | AsyncIterator[bytes]:
    match status:
        case 400:
            return b"{"
        case 401:
            return b'{"model": "bare"}'
        case 408:
            return _never_whole()
        case 413:
            return b"x" * 1001
        case _:
            return b'{"model": "%s"}' % MODELS[status].encode()


def key_for(status: int) -> str:
    return "another-key" if status == 401 else KEY


def check(path: str, status: int, answer: dict) -> None:
    of_openai, of_anthropic = KINDS[status]
    if path in ANTHROPIC:
        assert set(answer) == {"type", "error"}
        assert set(answer["error"]) == {"type", "message"}
        assert (answer["type"], answer["error"]["type"]) == ("error", of_anthropic)
    else:
        assert set(answer) == {"error"}
        assert set(answer["error"]) == {"message", "type", "param", "code", "hint"}
        assert (answer["error"]["type"], answer["error"]["code"]) == (of_openai, CODES[status])
    assert answer["error"]["message"]
    assert "another-key" not in str(answer)


@pytest.mark.parametrize("status", KINDS)
@pytest.mark.parametrize("path", [*OPENAI, *ANTHROPIC])
async def test_each_error_has_its_apis_form(llmux, path, status):
    asking = {"data": body_for(status), "headers": {"x-api-key": key_for(status)}}
    async with aiohttp.ClientSession(llmux) as session, session.post(path, **asking) as response:
        assert response.status == status
        assert response.content_type == "application/json"
        check(path, status, await response.json())


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 501, 503, 504])
async def test_a_websocket_is_refused_in_openais_form(llmux, status):
    path, model = "/v1/realtime", {400: "", 401: "bare"}.get(status) or MODELS.get(status, "")
    protocols = f"realtime, openai-insecure-api-key.{key_for(status)}"
    asking = {"headers": {**UPGRADE, "Sec-WebSocket-Protocol": protocols}, "params": {"model": model}}
    async with aiohttp.ClientSession(llmux) as session, session.get(path, **asking) as response:
        assert response.status == status
        check(path, status, await response.json())


@pytest.mark.parametrize("status", [401, *MODELS])
async def test_openais_client_raises_it(llmux, status):
    key, model = key_for(status), MODELS.get(status, "bare")
    async with openai.AsyncOpenAI(base_url=f"{llmux}v1", api_key=key, max_retries=0) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(model=model, messages=HI)
    assert (caught.value.status_code, caught.value.code) == (status, CODES[status])


@pytest.mark.parametrize("status", [401, *MODELS])
async def test_anthropics_client_raises_it(llmux, status):
    key, model = key_for(status), MODELS.get(status, "bare")
    async with anthropic.AsyncAnthropic(base_url=llmux, api_key=key, max_retries=0) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.create(model=model, messages=HI, max_tokens=5)
    assert caught.value.status_code == status
    assert caught.value.body["error"]["type"] == KINDS[status][1]


async def test_a_stream_that_is_broken_off_is_raised_by_either_client(llmux):
    async with openai.AsyncOpenAI(base_url=f"{llmux}v1", api_key=KEY, max_retries=0) as client:
        for stream in (
            await client.chat.completions.create(model="half", messages=HI, stream=True),
            await client.responses.create(model="half", input="Hi", stream=True),
        ):
            with pytest.raises(openai.APIError, match="broke off"):
                [piece async for piece in stream]
    async with anthropic.AsyncAnthropic(base_url=llmux, api_key=KEY, max_retries=0) as client:
        stream = await client.messages.create(model="half", messages=HI, max_tokens=5, stream=True)
        with pytest.raises(anthropic.APIStatusError, match="broke off") as caught:
            [event async for event in stream]
    assert caught.value.body["error"]["type"] == "api_error"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/chat/completions", "Did you mean /v1/chat/completions?"),
        ("/models", "Did you mean /v1/models?"),
        ("/v1", WAYS_IN),
        ("/nope", WAYS_IN),
        ("/ui/nope.js", WAYS_IN),
        ("/control/nope", WAYS_IN),
    ],
)
async def test_a_path_that_there_is_not_is_told_what_was_meant_or_what_there_is(
    aiohttp_client, make_driver, path, hint
):
    client = await aiohttp_client(_app.build(make_driver({})))
    async with client.get(path) as answer:
        assert answer.status == 404
        error = (await answer.json())["error"]
    assert (error["code"], error["hint"]) == ("not_found", hint)
    assert error["message"] == f"GET {path}: Not Found. {hint}"


async def test_what_there_is_are_ways_that_lead_somewhere(aiohttp_client, make_driver):
    client = await aiohttp_client(_app.build(make_driver({})))
    for path in re.findall(r"/[\w/.]+", WAYS_IN):
        async with client.get(path) as answer:
            assert answer.status == 200


async def test_a_port_that_has_v1_only_tells_of_no_more(aiohttp_client, make_driver):
    client = await aiohttp_client(_app.build(make_driver({}), gate=Gate(admin_port=1)))
    for path in ("/nope", "/ui/", "/control/status"):
        async with client.get(path) as answer:
            assert (answer.status, (await answer.json())["error"]["hint"]) == (
                404,
                "/v1/models lists the models",
            )
