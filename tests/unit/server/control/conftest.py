"""The control API of an llmux with models m and n, of which one at a time fits, whose engines are fakes."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web

from llmux.server import _app, _capacity
from llmux.server._capacity import Found, Quantity
from llmux.server._reload import ConfigFile, Reloader
from llmux.server._setup import make_driver as make_configured

GIB = 1 << 30
NODE = Found(Quantity(64 * GIB, "here"), Quantity(400 * GIB, "there"), {})


@pytest.fixture
async def opened(serve):
    """Give a function that serves an application and returns it with `call(method, path, body, **headers)`."""
    async with AsyncExitStack() as stack:

        async def open_one(app, **more):
            base = await serve(app)
            session = await stack.enter_async_context(aiohttp.ClientSession(base))

            async def call(method, path, body=None, **headers):
                headers = {name.replace("_", "-"): value for name, value in headers.items()}
                async with session.request(method, path, json=body, headers=headers) as response:
                    content = await response.read()
                    return SimpleNamespace(
                        status=response.status,
                        json=json.loads(content) if response.content_type == "application/json" else content,
                        headers=response.headers,
                    )

            return SimpleNamespace(call=call, session=session, base=base, app=app, **more)

        yield open_one


@pytest.fixture
async def engine(serve):
    """Give the URL of an engine that answers once its `go` is set, and streams until then where asked to."""
    told = SimpleNamespace(go=asyncio.Event(), begun=asyncio.Event())

    async def answer(request):
        asked = await request.json()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        told.begun.set()
        if asked.get("stream"):
            await response.prepare(request)
            await response.write(b"data: first\n\n")
        await told.go.wait()
        if asked.get("stream"):
            await response.write(b"data: last\n\n")
            await response.write_eof()
            return response
        return web.json_response({"answered": True})

    app = web.Application()
    app.router.add_post("/v1/completions", answer)
    told.url = await serve(app)
    return told


@pytest.fixture
async def house(opened, make_driver, make_hands, engine):
    """Give the driver, each model's hands, and `call`, without a configuration."""
    hands = {name: make_hands(url=engine.url) for name in ("m", "n")}
    driver = make_driver(hands, 1)
    return await opened(_app.build(driver), driver=driver, hands=hands, engine=engine)


@pytest.fixture
async def configured(opened, make_hands, engine, tmp_path):
    """Give the same, made from a configuration; `write(**fields)` changes its file."""
    file = ConfigFile(tmp_path / "config.json")
    hands = {}

    def write(m=None, **fields):
        models = {
            "m": {"model_path": "x", "engine": "tiny", "port": 8001, **(m or {})},
            "n": {"model_path": "x", "engine": "tiny", "port": 8002},
        }
        places = {
            "state_dir": str(tmp_path / "state"),
            "log_dir": str(tmp_path),
            "checkpoint": {"images_dir": str(tmp_path / "images")},
        }
        file.path.write_text(
            json.dumps(
                {"models": models, "max_awake": 1, "policy": {"policy_type": "fifo"}} | places | fields
            )
        )

    async def hands_of(_settings, placed, **_):
        return {replica: hands.setdefault(replica, make_hands(url=engine.url)) for replica in placed}

    await asyncio.to_thread(write)
    settings = await asyncio.to_thread(file.load)
    driver = make_configured(settings, await hands_of(settings, _capacity.placement(settings, NODE)), NODE)
    reloader = Reloader(driver, file, settings, NODE, hands_of)
    app = _app.build(driver, reloader)
    return await opened(
        app, driver=driver, hands=hands, engine=engine, write=write, images=tmp_path / "images"
    )
