"""Adapters before an engine that keeps vLLM's account of them: loaded once, unloaded in order, never while in use."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from llmux.server import _app
from llmux.server._model import Running
from llmux.server.scheduling.snapshot import Wake

CHAT = "/v1/chat/completions"
PATHS = {name: f"/lora/{name}" for name in ("red", "green", "blue")}


class Engine:
    """Answers what it was asked for where it has it; a chat that says `hold` waits until it may go on."""

    def __init__(self) -> None:
        self.loaded: dict[str, str] = {}
        self.heard: list[str] = []
        self.go_on = asyncio.Event()
        self.answering = asyncio.Event()
        self.load_gate = asyncio.Event()
        self.load_gate.set()
        self.in_load = asyncio.Event()
        self.unload_gate = asyncio.Event()
        self.unload_gate.set()
        self.in_unload = asyncio.Event()
        self.failures = 0
        self.list_status = 200

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/v1/models", self.list),
                web.post("/v1/load_lora_adapter", self.load),
                web.post("/v1/unload_lora_adapter", self.unload),
                web.post(CHAT, self.chat),
            ]
        )
        return app

    async def list(self, _request):
        self.heard.append("list")
        cards = [{"id": name, "root": path, "parent": "m"} for name, path in self.loaded.items()]
        return web.json_response({"data": [{"id": "m"}, *cards]}, status=self.list_status)

    async def load(self, request):
        body = await request.json()
        assert request.content_type == "application/json"
        name = body["lora_name"]
        self.heard.append(f"load {name}")
        self.in_load.set()
        if self.failures:
            self.failures -= 1
            request.transport.close()
            return web.Response()
        if "nowhere" in body["lora_path"]:
            return web.json_response({"error": {"message": "No adapter found"}}, status=404)
        if name in self.loaded:
            return web.json_response({"error": {"message": "already been loaded"}}, status=400)
        self.loaded[name] = body["lora_path"]
        await self.load_gate.wait()
        return web.Response(text="Success")

    async def unload(self, request):
        name = (await request.json())["lora_name"]
        self.heard.append(f"unload {name}")
        self.in_unload.set()
        await self.unload_gate.wait()
        del self.loaded[name]
        return web.Response(text="Success")

    async def chat(self, request):
        body = await request.json()
        if body["model"] != "m" and body["model"] not in self.loaded:
            return web.json_response({"error": {"message": "does not exist"}}, status=404)
        if body.get("hold"):
            self.answering.set()
            await self.go_on.wait()
        answered = self.loaded.get(body["model"], "base")
        self.heard.append(f"chat {body['model']}")
        return web.json_response({"by": answered})


@pytest.fixture
async def engine():
    return Engine()


@pytest.fixture
async def make_client(engine, serve, make_driver, make_hands):
    sessions = []

    async def make(replicas=1, **rules):
        url = await serve(engine.app())
        rules = {"adapters": PATHS, "max_adapters": 2} | rules
        driver = make_driver({"m": [make_hands(url=url) for _ in range(replicas)]}, **rules)
        session = aiohttp.ClientSession(await serve(_app.build(driver)))
        session.driver_ = driver
        sessions.append(session)
        return session

    yield make
    for session in sessions:
        await session.close()


async def ask(client, model, **fields):
    async with client.post(CHAT, json={"model": model} | fields) as response:
        return response.status, json.loads(await response.read())


def begin(work):
    return asyncio.create_task(work)  # noqa: TID251 - a client of its own


async def answered_by(client, model):
    status, body = await ask(client, model)
    assert status == 200, body
    return body["by"]


async def test_an_adapter_is_loaded_at_its_first_request_and_answers_as_itself(make_client, engine):
    client = await make_client()
    assert [await answered_by(client, each) for each in ("m", "red", "red", "m")] == [
        "base",
        "/lora/red",
        "/lora/red",
        "base",
    ]
    assert engine.heard == ["chat m", "list", "load red", "chat red", "chat red", "chat m"]


async def test_first_uses_at_the_same_time_load_once(make_client, engine):
    client = await make_client()
    assert await asyncio.gather(*(answered_by(client, "red") for _ in range(5))) == ["/lora/red"] * 5
    assert engine.heard.count("load red") == 1


async def test_the_least_recently_used_one_goes_at_the_limit(make_client, engine):
    client = await make_client()
    for name in ("red", "green", "red", "blue", "red"):
        assert await answered_by(client, name) == PATHS[name]
    assert [each for each in engine.heard if "load" in each] == [
        "load red",
        "load green",
        "unload green",
        "load blue",
    ]


async def test_one_that_answers_stays_and_the_other_goes(make_client, engine):
    client = await make_client()
    held = begin(ask(client, "red", hold=True))
    await engine.answering.wait()
    for name in ("green", "blue"):
        assert await answered_by(client, name) == PATHS[name]
    engine.go_on.set()
    assert (await held)[1] == {"by": "/lora/red"}
    assert "unload red" not in engine.heard


async def test_where_all_answer_a_request_waits_for_the_first_that_is_done(make_client, engine):
    client = await make_client(max_adapters=1)
    held = begin(ask(client, "red", hold=True))
    await engine.answering.wait()
    waiting = begin(ask(client, "green"))
    # What comes for the loaded one meanwhile has to stand in line, or it would keep the other out for ever.
    await asyncio.sleep(0.05)
    late = begin(ask(client, "red"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert not late.done()
    assert await answered_by(client, "m") == "base"
    engine.go_on.set()
    for each, name in ((held, "red"), (waiting, "green"), (late, "red")):
        assert await each == (200, {"by": PATHS[name]})
    assert [each for each in engine.heard if each.startswith("chat")] == [
        "chat m",
        "chat red",
        "chat green",
        "chat red",
    ]


async def test_one_that_is_asked_for_while_it_goes_is_loaded_again(make_client, engine):
    client = await make_client(max_adapters=1)
    assert await answered_by(client, "red") == PATHS["red"]
    engine.unload_gate.clear()
    other = begin(ask(client, "green"))
    await engine.in_unload.wait()
    late = begin(ask(client, "red"))
    await asyncio.sleep(0.05)
    engine.unload_gate.set()
    assert await other == (200, {"by": PATHS["green"]})
    assert await late == (200, {"by": PATHS["red"]})


async def test_a_request_whose_time_ends_before_there_is_a_place_is_told_so(make_client, engine):
    client = await make_client(max_adapters=1)
    model = client.driver_.models["m"]
    held = begin(ask(client, "red", hold=True))
    await engine.answering.wait()
    model.rules = replace(model.rules, request_timeout=0.4)
    status, body = await ask(client, "green")
    assert status == 504
    assert "1 others have requests in flight, and 1 may be loaded" in body["error"]["message"]
    assert "max_adapters" in body["error"]["hint"]
    engine.go_on.set()
    assert (await held)[0] == 200
    assert await answered_by(client, "green") == PATHS["green"]


async def test_what_the_engine_refuses_to_load_is_a_503_in_its_words(make_client, engine):
    client = await make_client(adapters={"lost": "/nowhere"})
    for _ in range(2):
        status, body = await ask(client, "lost")
        assert (status, body["error"]["code"]) == (503, "adapter_not_loaded")
        assert "lost from /nowhere" in body["error"]["message"]
        assert "No adapter found" in body["error"]["message"]
    assert await answered_by(client, "m") == "base"
    assert not client.driver_.models["m"].replicas[0].flights


async def test_an_engine_that_does_not_list_its_adapters_is_told(make_client, engine):
    engine.list_status = 500
    client = await make_client()
    status, body = await ask(client, "red")
    assert (status, body["error"]["code"]) == (503, "adapter_not_loaded")
    assert "does not list its adapters (500" in body["error"]["message"]


async def test_an_engine_that_breaks_off_in_a_load_is_asked_again(make_client, engine):
    engine.failures = 1
    client = await make_client()
    assert await answered_by(client, "red") == PATHS["red"]
    assert engine.heard == ["list", "load red", "list", "load red", "chat red"]


async def test_a_client_that_leaves_in_a_load_leaves_no_doubt(make_client, engine):
    client = await make_client()
    engine.load_gate.clear()
    leaving = begin(ask(client, "red"))
    await engine.in_load.wait()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    engine.load_gate.set()
    assert await answered_by(client, "red") == PATHS["red"]
    assert engine.heard.count("load red") == 1


async def test_what_an_engine_has_is_asked_anew_each_time_that_it_comes_to_serve(make_client, engine):
    client = await make_client()
    assert await answered_by(client, "red") == PATHS["red"]
    await client.driver_.sleep("m")
    engine.loaded = {"green": PATHS["green"]}
    assert await answered_by(client, "green") == PATHS["green"]
    assert await answered_by(client, "red") == PATHS["red"]
    assert [each for each in engine.heard if "chat" not in each] == ["list", "load red", "list", "load red"]


async def test_an_adapter_that_is_configured_to_be_elsewhere_is_loaded_anew(make_client, engine):
    client = await make_client()
    assert await answered_by(client, "red") == PATHS["red"]
    model = client.driver_.models["m"]
    model.rules = replace(model.rules, adapters={"red": "/lora/red-2"})
    assert await answered_by(client, "red") == "/lora/red-2"
    assert engine.heard[-3:] == ["unload red", "load red", "chat red"]


async def test_adapters_are_listed_with_their_model_and_path(make_client):
    client = await make_client(adapters={"red": "/lora/red"})
    async with client.get("/v1/models") as response:
        cards = (await response.json())["data"]
    assert [(card["id"], card["root"], card["parent"]) for card in cards] == [
        ("m", "m", None),
        ("red", "/lora/red", "m"),
    ]
    async with client.get("/v1/models/red") as response:
        assert await response.json() == cards[1]
    async with client.get("/v1/models/pink") as response:
        assert response.status == 404
        assert "configured: m, red" in (await response.json())["error"]["message"]


async def test_each_replica_loads_for_itself(make_client, engine, serve):
    client = await make_client(replicas=2)
    assert await answered_by(client, "red") == PATHS["red"]
    first, second = client.driver_.models["m"].replicas
    other = Engine()
    second.hands.url = await serve(other.app())
    client.driver_._act(Wake(second.name, "the test wants it"))
    async with asyncio.timeout(30):
        while not isinstance(second.state, Running):  # noqa: ASYNC110 - a state has no event
            await asyncio.sleep(0.01)
    async with client.driver_.admit("m"):  # the first one has one more in flight
        assert first.flights
        assert await answered_by(client, "red") == PATHS["red"]
    assert (engine.loaded, other.loaded) == ({"red": PATHS["red"]}, {"red": PATHS["red"]})


async def test_an_adapters_name_stands_for_its_model_in_control(make_client):
    client = await make_client()
    for call, state in (("wake", "running"), ("sleep", "asleep")):
        async with client.post(f"/control/{call}", json={"model": "red"}) as response:
            told = await response.json()
        assert (told["model"], told["state"]) == ("m", state)
    async with client.post("/control/wake", json={"model": "pink"}) as response:
        assert response.status == 404


async def test_the_status_says_which_replicas_have_an_adapter(make_client, engine):
    client = await make_client()
    await answered_by(client, "red")
    async with client.get("/control/status") as response:
        described = (await response.json())["models"]["m"]["adapters"]
    assert described["red"] == {"path": PATHS["red"], "loaded_by": ["m"]}
    assert described["green"] == {"path": PATHS["green"], "loaded_by": []}
