"""Whose an object is: keys before an engine that gives every object to whoever names it."""

from __future__ import annotations

import json

import aiohttp
import pytest
from aiohttp import web

from llmux.server import _app
from llmux.server._gate import GATE, Gate
from llmux.server.access.keys import Key, digest
from llmux.server.access.policy import Access
from llmux.server.access.roles import Role

KEYS = [Key("a", digest("a")), Key("b", digest("b")), Key("root", digest("root"), Role.ADMIN)]
RESPONSES, FILES, BATCHES = "/v1/responses", "/v1/files", "/v1/batches"


class Upstream:
    """An engine that makes objects, and lists and gives all of them to everybody."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.asked: list[str] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.post("/v1/{collection}", self.make),
                web.get("/v1/{collection}", self.list),
                web.route("*", "/v1/{collection}/{id}", self.show),
                web.route("*", "/v1/{collection}/{id}/{more:.*}", self.show),
            ]
        )
        return app

    async def make(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        self.made.append(f"{request.match_info['collection']}_{len(self.made)}")
        return web.json_response({"id": self.made[-1]})

    async def list(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": each} for each in self.made]})

    async def show(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        named = request.match_info["id"]
        return web.json_response({"id": named, "output_file_id": f"out_of_{named}"})


@pytest.fixture
async def upstream():
    return Upstream()


@pytest.fixture
async def ask(upstream, serve, make_driver, make_hands):
    """Give a function that asks with a key and returns the status and what is answered."""
    driver = make_driver({"m": make_hands(url=await serve(upstream.app()))})
    app = _app.build(driver, gate=Gate(Access.of(KEYS)))
    async with aiohttp.ClientSession(await serve(app)) as session:

        async def ask(key, method, path, said=None, **headers):
            headers |= {"Authorization": f"Bearer {key}"} if key else {}
            body = said if isinstance(said, bytes) else json.dumps(said).encode() if said else None
            async with session.request(method, path, data=body, headers=headers) as response:
                return response.status, await response.json()

        ask.gate = app[GATE]
        yield ask


async def make(ask, key, path, **said):
    status, told = await ask(key, "POST", path, {"model": "m", **said})
    assert status == 200, told
    return told["id"]


async def test_a_key_has_its_own_and_nothing_of_anothers(ask, upstream):
    made = await make(ask, "a", RESPONSES)
    upstream.asked.clear()
    for method, path in (
        ("GET", f"{RESPONSES}/{made}"),
        ("GET", f"{RESPONSES}/{made}?model=m"),
        ("GET", f"{RESPONSES}/{made}/input_items"),
        ("POST", f"{RESPONSES}/{made}/cancel"),
        ("DELETE", f"{RESPONSES}/{made}"),
        ("GET", f"/v1//responses/{made}/"),
    ):
        status, told = await ask("b", method, path)
        assert (status, told["error"]["code"]) == (404, "not_found"), path
    assert upstream.asked == []
    assert (await ask("a", "GET", f"{RESPONSES}/{made}"))[0] == 200
    assert (await ask("root", "GET", f"{RESPONSES}/{made}"))[0] == 200
    assert (await ask("a", "DELETE", f"{RESPONSES}/{made}"))[0] == 200


async def test_anothers_is_answered_as_what_never_was(ask):
    made = await make(ask, "a", RESPONSES)
    found = [await ask("b", "GET", f"{RESPONSES}/{name}?model=m") for name in (made, "never")]
    assert found[0][0] == found[1][0]
    assert str(found[0][1]).replace(made, "never") == str(found[1][1])


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x"]
)
@pytest.mark.parametrize(
    ("path", "said"),
    [
        (RESPONSES, {"previous_response_id": "responses_0"}),
        (RESPONSES, {"request_id": "responses_0"}),
        (RESPONSES, {"input": [{"content": [{"type": "input_file", "file_id": "files_1"}]}]}),
        (RESPONSES, {"tools": [{"type": "file_search", "vector_store_ids": ["vector_stores_2"]}]}),
        (BATCHES, {"input_file_id": "files_1"}),
        ("/v1/vector_stores/vector_stores_3/files", {"file_id": "files_1"}),
    ],
)
async def test_nobody_goes_on_with_what_is_anothers(ask, path, said, content_type):
    for made in (RESPONSES, FILES, "/v1/vector_stores"):
        await make(ask, "a", made)
    await make(ask, "b", "/v1/vector_stores")
    status, told = await ask("b", "POST", f"{path}?model=m", said, **{"Content-Type": content_type})
    assert (status, told["error"]["code"]) == (404, "not_found")
    own = json.loads(json.dumps(said).replace("_3", "_2"))
    assert (await ask("a", "POST", f"{path.replace('_3', '_2')}?model=m", own))[0] == 200


async def test_an_id_that_nobody_has_may_be_chosen(ask):
    await make(ask, "a", RESPONSES, request_id="mine", metadata={"file_id": "whatever"})


async def test_a_list_has_the_keys_own_alone(ask):
    mine, others = await make(ask, "a", FILES), await make(ask, "b", FILES)
    for key, seen in (("a", [mine]), ("b", [others]), ("root", [mine, others])):
        status, told = await ask(key, "GET", f"{FILES}?model=m")
        assert (status, [each["id"] for each in told["data"]]) == (200, seen)


async def test_what_is_made_of_a_batch_is_whose_the_batch_is(ask):
    batch = await make(ask, "a", BATCHES, input_file_id=await make(ask, "a", FILES))
    path = f"{FILES}/out_of_{batch}/content"
    assert (await ask("a", "GET", path))[0] == 404
    await ask("root", "GET", f"{BATCHES}/{batch}")  # whoever looks at it
    assert (await ask("a", "GET", path))[0] == 200
    assert (await ask("b", "GET", path))[0] == 404


async def test_without_keys_nothing_is_anybodys(ask):
    ask.gate.take(Access())
    made = await make(ask, None, RESPONSES)
    assert (await ask(None, "GET", f"{RESPONSES}/{made}"))[0] == 200
    assert (await ask(None, "GET", f"{RESPONSES}/whatever"))[0] == 200
    ask.gate.take(Access.of(KEYS))
    assert (await ask("a", "GET", f"{RESPONSES}/{made}"))[0] == 404
    assert (await ask("root", "GET", f"{RESPONSES}/{made}"))[0] == 200


async def test_a_key_that_is_called_as_somebody_else_is_not_them(ask):
    ask.gate.take(Access())
    made = await make(ask, None, RESPONSES)
    ask.gate.take(Access.of([Key("anybody", digest("k")), Key("this machine", digest("l"))]))
    assert [(await ask(key, "GET", f"{RESPONSES}/{made}"))[0] for key in "kl"] == [404, 404]
