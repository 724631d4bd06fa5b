"""Whatever schemathesis makes of the calls that are passed on: none is a fault of llmux, and each error is in its API's form."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from fuzzing import fuzz
from schemathesis.config import ChecksConfig, PositiveDataAcceptanceConfig, SimpleCheckConfig

from llmux.server import _app
from llmux.server._gate import Gate
from llmux.server.access.keys import Key, digest
from llmux.server.access.policy import Access

APIS = yaml.safe_load(Path(__file__).with_name("apis.yaml").read_text())
KEY = "the-key"


class Engine:
    """An engine that takes everything, makes one response of all it is told, and knows its model by its name alone."""

    def __init__(self) -> None:
        self.models: set[object] = set()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        return app

    async def answer(self, request: web.Request) -> web.Response:
        told = json.loads(body) if (body := await request.read())[:1] == b"{" else {}
        self.models |= {told.get("model"), request.query.get("model")}
        answer = {"id": "resp_1", "model": "m", "usage": {"total_tokens": 3}, "data": [{"id": "file-1"}]}
        if told.get("stream") is True:
            text = f"data: {json.dumps(answer)}\n\ndata: [DONE]\n\n"
            return web.Response(text=text, content_type="text/event-stream")
        return web.json_response(answer)


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
async def llmux(serve, make_driver, make_hands, engine):
    url = await serve(engine.app())
    driver = make_driver({name: make_hands(url=url) for name in ("m", "n", "private")})
    rules = {
        "aliases": ("org/alias",),
        "defaults": {"temperature": 0, "metadata": {"a": "b"}},
        "max_tokens": 9,
    }
    driver.models["m"].rules = replace(driver.models["m"].rules, **rules)
    key = Key("k", digest(KEY), models=("m", "org/*", "n", "nobody"))
    return str(await serve(_app.build(driver, gate=Gate(Access.of([key]))))).rstrip("/")


@pytest.mark.parametrize("key", [KEY, "another"])
async def test_schemathesis_finds_nothing(llmux, engine, key):
    # Whether a request is a good one is its engine's business: llmux reads whom it is for, and what may be written into it.
    checks = ChecksConfig(
        positive_data_acceptance=PositiveDataAcceptanceConfig(
            expected_statuses=["2xx", "400", "401", "403", "404"]
        ),
        ignored_auth=SimpleCheckConfig(enabled=False),
        use_after_free=SimpleCheckConfig(enabled=False),
        ensure_resource_availability=SimpleCheckConfig(enabled=False),
    )
    checks.negative_data_rejection.enabled = False
    await asyncio.to_thread(fuzz, APIS, llmux, checks, (), {"Authorization": f"Bearer {key}"})
    if key == KEY:
        assert engine.models
        assert engine.models <= {"m", "n", None}
    else:
        assert not engine.models
