"""Which model a request is for, and what its engine is asked: before engines that keep what they were asked."""

from __future__ import annotations

import json
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from llmux.server import _app

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


class Upstream:
    """An engine that has chat, responses and files, and says which model it was asked for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[tuple[str, bytes]] = []
        self.refuse: web.Response | None = None

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.post(CHAT, self.answer),
                web.post("/v1/completions", self.events),
                web.post("/v1/embeddings", self.answer),
                web.post("/v1/audio/transcriptions", self.answer),
                web.post(RESPONSES, self.make),
                web.post("/v1/files", self.make),
                web.post("/v1/batches", self.make),
                web.route("*", "/v1/responses/{id}", self.show),
                web.post("/v1/responses/{id}/cancel", self.show),
            ]
        )
        return app

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path_qs, await request.read()))
        if self.refuse:
            return self.refuse
        return web.Response(body=b'{ "model": "%s" }' % self.name.encode(), content_type="application/json")

    async def events(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path_qs, await request.read()))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in (b'data: {"mod', b'el":"%s"}' % self.name.encode(), b"\n\ndata: [DONE]\n\n"):
            await response.write(piece)
        return response

    async def make(self, request: web.Request) -> web.Response:
        self.asked.append((request.path_qs, await request.read()))
        return web.json_response({"id": f"made_by_{self.name}", "model": self.name})

    async def show(self, request: web.Request) -> web.Response:
        self.asked.append((request.path_qs, await request.read()))
        return web.json_response({"id": request.match_info["id"], "model": self.name})


@pytest.fixture
async def upstreams():
    return {name: Upstream(name) for name in ("m", "n")}


@pytest.fixture
async def client(upstreams, serve, make_driver, make_hands):
    driver = make_driver({name: make_hands(url=await serve(each.app())) for name, each in upstreams.items()})
    async with aiohttp.ClientSession(await serve(_app.build(driver))) as session:
        session.driver_ = driver
        yield session


def rule(client, model="m", **rules):
    client.driver_.models[model].rules = replace(client.driver_.models[model].rules, **rules)


async def ask(client, path, status=200, method="POST", **said):
    async with client.request(method, path, **said) as response:
        answer = await response.read()
        assert response.status == status, answer
        return answer


async def test_an_alias_is_the_engines_name_on_the_way_in_and_the_clients_on_the_way_out(client, upstreams):
    rule(client, aliases=("org/m",))
    assert json.loads(await ask(client, CHAT, json={"model": "org/m", "x": "é"})) == {"model": "org/m"}
    assert json.loads(upstreams["m"].asked[0][1]) == {"model": "m", "x": "é"}
    events = await ask(client, "/v1/completions", json={"model": "org/m"})
    assert events == b'data: {"model":"org/m"}\n\ndata: [DONE]\n\n'


async def test_where_the_names_are_the_same_not_a_byte_is_changed(client, upstreams):
    body = b'{ "model" : "m", "a": 1.0, "a": 2 }'
    assert await ask(client, CHAT, data=body) == b'{ "model": "m" }'
    assert upstreams["m"].asked[0][1] == body


async def test_a_name_of_the_engines_own_shows_nowhere(client, upstreams):
    rule(client, served_name="/models/m.gguf")
    upstreams["m"].name = "/models/m.gguf"
    assert json.loads(await ask(client, CHAT, json={"model": "m"})) == {"model": "m"}
    assert json.loads(upstreams["m"].asked[0][1]) == {"model": "/models/m.gguf"}


async def test_a_form_and_a_query_are_asked_by_the_engines_name(client, upstreams):
    rule(client, aliases=("w",))
    form = aiohttp.FormData({"model": "w"})
    form.add_field("file", b"\xff model=w", filename="a.wav")
    await ask(client, "/v1/audio/transcriptions", data=form)
    body = upstreams["m"].asked[0][1]
    assert b"\r\n\r\nm\r\n" in body
    assert b"\xff model=w" in body
    await ask(client, "/v1/responses/1?model=w&b=1", method="GET")
    assert upstreams["m"].asked[1][0] == "/v1/responses/1?model=m&b=1"


async def test_aliases_are_listed_and_shown_with_slashes_and_state(client):
    rule(client, aliases=("org/m",))
    listed = json.loads(await ask(client, "/v1/models", method="GET"))["data"]
    assert [(card["id"], card["root"], card["state"]) for card in listed] == [
        ("m", "m", "not_started"),
        ("org/m", "m", "not_started"),
        ("n", "n", "not_started"),
    ]
    await ask(client, CHAT, json={"model": "org/m"})
    card = json.loads(await ask(client, "/v1/models/org/m", method="GET"))
    assert (card["id"], card["state"]) == ("org/m", "running")


async def test_a_request_that_names_no_model_is_for_the_default(client, upstreams):
    await ask(client, CHAT, 400, json={})
    rule(client, "n", is_default=True)
    await ask(client, CHAT, json={"x": 1})
    assert json.loads(upstreams["n"].asked[0][1]) == {"x": 1, "model": "n"}


async def test_defaults_and_caps_are_for_requests_that_generate(client, upstreams):
    rule(client, defaults={"temperature": 0.5}, max_tokens=10)
    await ask(client, CHAT, json={"model": "m", "max_tokens": 99})
    await ask(client, RESPONSES, json={"model": "m"})
    await ask(client, "/v1/embeddings", json={"model": "m"})
    assert [json.loads(body) for _, body in upstreams["m"].asked] == [
        {"temperature": 0.5, "model": "m", "max_tokens": 10},
        {"temperature": 0.5, "model": "m", "max_output_tokens": 10},
        {"model": "m"},
    ]


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x"])
async def test_no_content_type_leads_around_a_cap(client, upstreams, content_type):
    rule(client, max_tokens=10, is_default=True)
    headers = {"Content-Type": content_type}
    await ask(client, CHAT, data=b'{"max_tokens": 99}', headers=headers)
    assert json.loads(upstreams["m"].asked[0][1])["max_tokens"] == 10
    await ask(client, f"{CHAT}?model=m", 400, data=b'{"max_tokens": 99,}', headers=headers)


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data; x*", "multipart/form-data; boundary=y; boundary=x"]
)
async def test_no_form_is_passed_on_that_an_engine_may_read_otherwise(client, upstreams, content_type):
    """Else a key for m alone could name an adapter of m in it."""
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nadapter\r\n--x--\r\n'
    headers = {"Content-Type": content_type}
    told = json.loads(await ask(client, "/v1/audio/transcriptions?model=m", 400, data=form, headers=headers))
    assert "Content-Type" in told["error"]["message"]
    assert upstreams["m"].asked == []


async def test_a_query_that_names_two_models_is_not_passed_on(client, upstreams):
    for query in ("model=m&model=n", "model=m&m%6fdel=n"):
        await ask(client, f"/v1/responses/x?{query}", 400, method="GET")
    assert upstreams["m"].asked == []


async def test_nor_is_a_body_that_names_another_than_its_query_nor_a_query_that_names_none(client, upstreams):
    for query, body in (("adapter", {"model": "m"}), ("", {"model": "m"}), ("", {})):
        told = json.loads(await ask(client, f"{CHAT}?model={query}", 400, json=body))
        assert told["error"]["param"] == "model"
    await ask(client, "/v1/responses/x?model=", 400, method="GET")
    assert upstreams["m"].asked == []
    await ask(client, f"{CHAT}?model=m", json={"model": "m"})


async def test_a_body_that_names_two_models_is_not_passed_on_by_its_query(client, upstreams):
    body = b'{"model": "adapter", "model": "m"}'
    told = json.loads(await ask(client, "/v1/embeddings?model=m", 400, data=body))
    assert told["error"]["param"] == "model"
    assert upstreams["m"].asked == []


async def test_what_an_engine_keeps_is_asked_of_the_model_that_made_it(client, upstreams):
    rule(client, "n", aliases=("alias",))
    rule(client, "m", is_default=True)
    made = json.loads(await ask(client, RESPONSES, json={"model": "alias"}))
    assert made == {"id": "made_by_n", "model": "alias"}
    shown = json.loads(await ask(client, "/v1/responses/made_by_n", method="GET"))
    assert shown == {"id": "made_by_n", "model": "alias"}
    await ask(client, "/v1/responses/made_by_n/cancel")
    await ask(client, RESPONSES, json={"model": "n", "previous_response_id": "made_by_n"})
    assert len(upstreams["n"].asked) == 4
    error = json.loads(await ask(client, RESPONSES, 400, json={"previous_response_id": "made_by_n"}))["error"]
    assert error["param"] == "previous_response_id"
    assert "made by the model 'alias'" in error["message"]
    await ask(client, "/v1/responses/made_by_n", method="DELETE")
    await ask(client, "/v1/responses/made_by_n", method="GET")
    assert upstreams["m"].asked[-1][0] == "/v1/responses/made_by_n"


async def test_a_file_stays_with_its_model_and_a_batch_goes_to_it(client, upstreams):
    await ask(client, "/v1/files?model=n", data=b"\x00 lines", headers={"Content-Type": "application/jsonl"})
    assert upstreams["n"].asked == [("/v1/files?model=n", b"\x00 lines")]
    await ask(client, "/v1/files/nobody_made/content", 404, method="GET")
    error = await ask(client, "/v1/batches", 400, json={"model": "m", "input_file_id": "made_by_n"})
    assert b"whose engine keeps it" in error


async def test_it_is_asked_of_the_replica_that_keeps_it(upstreams, serve, make_driver, make_hands):
    urls = [await serve(each.app()) for each in upstreams.values()]
    driver = make_driver({"m": [make_hands(url=url) for url in urls]}, max_awake=2)
    async with aiohttp.ClientSession(await serve(_app.build(driver))) as client:
        made = json.loads(await ask(client, RESPONSES, json={"model": "m"}))["id"]
        keeper = upstreams[made.removeprefix("made_by_")]
        for replica in driver.models["m"].replicas:
            await driver.wake(replica.model)
        for _ in range(3):
            await ask(client, f"/v1/responses/{made}", method="GET")
    assert len(keeper.asked) == 4


async def test_what_an_engine_lacks_is_a_501_that_names_it(client):
    rule(client, engine="tiny")
    async with client.post("/v1/audio/speech", json={"model": "m"}) as response:
        assert (response.status, response.headers["x-should-retry"]) == (501, "false")
        error = (await response.json())["error"]
    assert error["code"] == "not_implemented"
    assert "the engine of 'm', tiny, does not have POST /v1/audio/speech" in error["message"]
    answer = json.loads(await ask(client, "/v1/messages", 501, json={"model": "m"}))
    assert (answer["type"], answer["error"]["type"]) == ("error", "api_error")
    await ask(client, CHAT, 501, method="GET", params={"model": "m"})
    deleted = await ask(client, "/v1/models/m", 501, method="DELETE")
    assert b"does not have DELETE /v1/models/m" in deleted
    assert b"404" in await ask(client, "/v1/nobodys_call", 404, json={"model": "m"})


async def test_what_an_engine_says_of_what_is_not_there_passes(client, upstreams):
    words = '{"error":{"message":"The model `x` does not exist."}}'
    upstreams["m"].refuse = web.Response(status=404, text=words, content_type="application/json")
    assert await ask(client, CHAT, 404, json={"model": "m"}) == words.encode()
