"""Each API's form of each error that llmux itself makes, read by the API's own client where it has one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import aiohttp
import anthropic
import openai
import pytest
from aiohttp import web

from llmux.server import _app

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
    404: ("invalid_request_error", "not_found_error"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("rate_limit_error", "rate_limit_error"),
    501: ("server_error", "api_error"),
    502: ("server_error", "api_error"),
    503: ("server_error", "overloaded_error"),
    504: ("server_error", "timeout_error"),
}
"""By status: what OpenAI's form calls it, and Anthropic's."""
MODELS = {404: "nobody", 429: "full", 501: "bare", 502: "slamming", 503: "broken", 504: "slow"}
"""A model for each that is its engine's."""
CODES = {
    400: "invalid_request",
    404: "model_not_found",
    413: "request_entity_too_large",
    429: "rate_limit_exceeded",
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
        "broken": make_hands(broken={"cold_start"}),
    }
    driver = make_driver(hands)
    for name, rules in {"full": {"max_waiting": 0}, "slow": {"request_timeout": 0.05}}.items():
        driver.models[name].rules = replace(driver.models[name].rules, **rules)
    yield str(await serve(_app.build(driver)))
    for held in (slow, full):
        held.gates["cold_start"].set()


def body_for(status: int) -> bytes:
    match status:
        case 400:
            return b"{"
        case 413:
            return b"x" * 1001
        case _:
            return b'{"model": "%s"}' % MODELS[status].encode()


@pytest.mark.parametrize("status", KINDS)
@pytest.mark.parametrize("path", [*OPENAI, *ANTHROPIC])
async def test_each_error_has_its_apis_form(llmux, path, status):
    async with aiohttp.ClientSession(llmux) as session, session.post(path, data=body_for(status)) as response:
        assert response.status == status
        assert response.content_type == "application/json"
        answer = await response.json()
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


@pytest.mark.parametrize("status", [each for each in KINDS if each in MODELS])
async def test_openais_client_raises_it(llmux, status):
    async with openai.AsyncOpenAI(base_url=f"{llmux}v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(model=MODELS[status], messages=HI)
    assert (caught.value.status_code, caught.value.code) == (status, CODES[status])


@pytest.mark.parametrize("status", [each for each in KINDS if each in MODELS])
async def test_anthropics_client_raises_it(llmux, status):
    async with anthropic.AsyncAnthropic(base_url=llmux, api_key="none", max_retries=0) as client:
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.create(model=MODELS[status], messages=HI, max_tokens=5)
    assert caught.value.status_code == status
    assert caught.value.body["error"]["type"] == KINDS[status][1]


async def test_a_stream_that_is_broken_off_is_raised_by_either_client(llmux):
    async with openai.AsyncOpenAI(base_url=f"{llmux}v1", api_key="none", max_retries=0) as client:
        for stream in (
            await client.chat.completions.create(model="half", messages=HI, stream=True),
            await client.responses.create(model="half", input="Hi", stream=True),
        ):
            with pytest.raises(openai.APIError, match="broke off"):
                [piece async for piece in stream]
    async with anthropic.AsyncAnthropic(base_url=llmux, api_key="none", max_retries=0) as client:
        stream = await client.messages.create(model="half", messages=HI, max_tokens=5, stream=True)
        with pytest.raises(anthropic.APIStatusError, match="broke off") as caught:
            [event async for event in stream]
    assert caught.value.body["error"]["type"] == "api_error"
