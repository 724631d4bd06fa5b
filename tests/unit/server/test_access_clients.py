"""The official clients meet the gate: each raises its own error for what llmux refuses, and sends its key as it does anywhere."""

from __future__ import annotations

import anthropic
import openai
import pytest
from aiohttp import web

from llmux.server import _app
from llmux.server._gate import Gate
from llmux.server.access.keys import Key, Limits, digest
from llmux.server.access.policy import Access
from llmux.server.access.roles import Role

KEYS = [
    Key("user", digest("user"), models=("m",)),
    Key("observer", digest("observer"), Role.OBSERVE),
    Key("once", digest("once"), limits=Limits(requests=1)),
]
QUESTION = [{"role": "user", "content": "What is a lighthouse?"}]
COMPLETION = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "A tower."}}
    ],
}
MESSAGE = {
    "id": "1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "A tower."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 2},
}


@pytest.fixture
async def base(serve, make_driver, make_hands):
    async def answer(request):
        assert not {"Authorization", "X-Api-Key"} & set(request.headers)
        return web.json_response(MESSAGE if request.path == "/v1/messages" else COMPLETION)

    engine = web.Application()
    engine.add_routes([web.route("*", "/{path:.*}", answer)])
    hands = make_hands(url=await serve(engine))
    return await serve(_app.build(make_driver({"m": hands, "n": hands}), gate=Gate(Access.of(KEYS))))


async def openai_asked(base, key, model="m"):
    async with openai.AsyncOpenAI(base_url=str(base / "v1"), api_key=key, max_retries=0) as client:
        return await client.chat.completions.create(model=model, messages=QUESTION)


async def anthropic_asked(base, key, model="m", **auth):
    keys = auth or {"api_key": key}
    async with anthropic.AsyncAnthropic(base_url=str(base), max_retries=0, **keys) as client:
        return await client.messages.create(model=model, messages=QUESTION, max_tokens=9)


async def test_a_key_is_taken_from_each_client(base):
    assert (await openai_asked(base, "user")).choices[0].message.content == "A tower."
    assert (await anthropic_asked(base, "user")).content[0].text == "A tower."
    assert (await anthropic_asked(base, None, auth_token="user")).content[0].text == "A tower."


@pytest.mark.parametrize(
    ("key", "model", "error"),
    [
        ("nobody", "m", "AuthenticationError"),
        ("observer", "m", "PermissionDeniedError"),
        ("user", "n", "PermissionDeniedError"),
    ],
)
async def test_what_is_refused_is_each_clients_own_error(base, key, model, error):
    for library, ask in ((openai, openai_asked), (anthropic, anthropic_asked)):
        with pytest.raises(getattr(library, error)):
            await ask(base, key, model)


async def test_a_limit_is_a_rate_limit_that_tells_when_to_come_again(base):
    await openai_asked(base, "once")
    with pytest.raises(openai.RateLimitError) as caught:
        await openai_asked(base, "once")
    assert caught.value.code == "rate_limit_exceeded"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
    with pytest.raises(anthropic.RateLimitError):
        await anthropic_asked(base, "once")


async def test_models_are_listed_for_the_key(base):
    async with openai.AsyncOpenAI(base_url=str(base / "v1"), api_key="user") as client:
        assert [model.id async for model in await client.models.list()] == ["m"]
