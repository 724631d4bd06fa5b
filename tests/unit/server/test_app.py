"""The application as a whole: its limits, and what it does where a handler fails."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web

from llmux.server import _app, _web
from llmux.server._model import NotStarted


@pytest.fixture
async def client(serve, make_driver, make_hands, monkeypatch):
    monkeypatch.setattr(_app, "LARGEST_BODY", 1000)
    app = _app.build(make_driver({"m": make_hands()}))
    async with aiohttp.ClientSession(await serve(app)) as session:
        session.app_ = app  # for the test that breaks it
        yield session


async def test_it_is_healthy_without_starting_anything(client):
    async with client.get("/health") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    assert isinstance(client.app_[_web.DRIVER].models["m"].replicas[0].state, NotStarted)


async def test_a_body_over_the_limit_is_a_413_in_json(client):
    async with client.post("/v1/completions", data=b"x" * 1001) as response:
        assert response.status == 413
        assert (await response.json())["error"]["code"] == "request_entity_too_large"


async def test_a_failure_that_nobody_foresaw_is_an_error_in_openais_form_and_in_the_log(client, caplog):
    model = client.app_[_web.DRIVER].models["m"]
    model.replicas[0].state = "no state at all"
    async with client.get("/control/status") as response:
        assert response.status == 500
        assert (await response.json())["error"]["code"] == "internal_error"
    assert "GET /control/status failed unforeseen" in caplog.text


async def test_one_amid_an_answer_is_its_end(serve, make_driver, make_hands, caplog):
    async def begin(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"so far")
        raise RuntimeError("so far and no further")

    app = _app.build(make_driver({"m": make_hands()}))
    app.router.add_get("/v1", begin)
    async with aiohttp.ClientSession(await serve(app)) as session, session.get("/v1") as response:
        assert await response.content.readany() == b"so far"
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert "GET /v1 failed unforeseen" in caplog.text


async def test_its_end_closes_the_driver(serve, make_driver, make_hands):
    hands = make_hands()
    driver = make_driver({"m": hands})
    app = _app.build(driver)
    await serve(app)
    async with driver.admit("m"):
        pass
    await app.shutdown()
    assert hands.lives[0].closed


async def test_while_it_ends_it_says_so_and_closes_each_connection(client):
    client.app_[_web.DRIVER].refuse_all()
    chat = client.post("/v1/completions", json={"model": "m"})
    for asked, status, code in ((client.get("/health"), 503, None), (chat, 503, "stopping")):
        async with asked as response:
            body = await response.json()
            assert response.status == status
            assert response.headers["Connection"] == "close"
            assert int(response.headers["Retry-After"]) > 0
            assert code is None or body["error"]["code"] == code
    async with client.get("/control/status") as response:
        assert response.status == 200
        assert "Retry-After" not in response.headers
