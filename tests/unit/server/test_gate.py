"""The gate before real handlers and a real engine: every route against every role, keys, limits, and web pages."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from llmux.server import _app, _gate, config
from llmux.server._capacity import Found, Quantity
from llmux.server._gate import Gate
from llmux.server._reload import ConfigFile, Reloader
from llmux.server._web import DRIVER
from llmux.server.access.keys import Key, Limits, digest
from llmux.server.access.origin import Peer
from llmux.server.access.policy import Access
from llmux.server.access.roles import ROUTES, Right, Role, right_for, rights

CHAT = "/v1/chat/completions"
PAGE = "https://chat.example.org"
NODE = Found(Quantity(1 << 36, "here"), Quantity(1 << 38, "there"), {})
KEYS = [Key(role, digest(role), role) for role in Role]


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


class Upstream:
    """An engine that keeps the headers it was sent, and answers with a usage."""

    def __init__(self):
        self.asked = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.status = 200
        self.answers = {"usage": {"total_tokens": 40}}

    def app(self):
        app = web.Application()
        app.add_routes([web.route("*", "/{path:.*}", self.answer)])
        return app

    async def answer(self, request):
        self.asked.append(request.headers.copy())
        await self.gate.wait()
        headers = {"Access-Control-Allow-Origin": "*", "access-control-allow-credentials": "true"}
        return web.json_response(self.answers, headers=headers, status=self.status)


@pytest.fixture
async def upstream():
    return Upstream()


@pytest.fixture
async def open_door(upstream, serve, make_driver, make_hands, tmp_path):
    """Give a function that serves two models behind a gate, and gives a session with it."""
    url = await serve(upstream.app())
    sessions = []

    async def start(access, **gate):
        driver = make_driver({"m": make_hands(url=url), "n": make_hands(url=url)})
        file = ConfigFile(tmp_path / "config.json")
        settings = config.parse(json.dumps({"models": {"m": {"model_path": "x", "port": 8001}}}))
        reloader = Reloader(driver, file, settings, NODE, make_hands)
        app = _app.build(driver, reloader, Gate(access, **gate))
        session = aiohttp.ClientSession(await serve(app))
        session.app_ = app
        sessions.append(session)
        return session

    yield start
    for session in sessions:
        await session.close()


@asynccontextmanager
async def asking(session, path=CHAT, method="POST", model="m", **headers):
    body = {"json": {"model": model}} if method == "POST" else {}
    async with session.request(method, path, headers=headers, **body) as response:
        yield response


async def status(session, *args, **kwargs):
    async with asking(session, *args, **kwargs) as response:
        return response.status


def routes(app):
    """Yield each route's method, its path as the router knows it, and one that a client may write."""
    for route in app.router.routes():
        canonical = route.resource.canonical
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"] if route.method == "*" else [route.method]
        for method in methods:
            yield method, canonical, re.sub(r"\{[^}]*\}", "m", canonical)


async def test_every_route_against_every_role(open_door):
    session = await open_door(Access.of(KEYS))
    seen = set()
    for method, canonical, path in routes(session.app_):
        right = right_for(method, canonical)
        seen.add(right)
        for role in (None, *Role):
            found = await status(session, path, method, **(bearer(role) if role else {}))
            if right is Right.OPEN:
                assert found not in {401, 403, 405}, (method, path, role)
            elif role is None:
                assert found == 401, (method, path)
            elif right in rights(role):
                assert found not in {401, 403, 405}, (method, path, role)
            else:
                assert found == 403, (method, path, role)
    assert seen == set(Right)


SAID = {
    "open": "GET /health, GET /, GET /ui, GET /ui/{path}",
    "use": (
        "GET /v1/models, GET /v1/models/{name}, * /v1/{path}, "
        "* /v1/chat/completions, * /v1/completions, * /v1/embeddings, * /v1/messages, * /v1/responses, "
        "* /tokenize, * /detokenize, * /tokenizer_info, * /pooling, "
        "* /classify, * /score, * /generative_scoring, * /rerank, * /v2/rerank, * /v2/embed, * /invocations"
    ),
    "known": "GET /control/whoami",
    "observe": (
        "GET /metrics, GET /openapi.json, GET /control/status, GET /control/models, GET /control/models/{model}, "
        "GET /control/mode, GET /control/eviction, GET /control/log-level, GET /control/events, GET /control/requests, "
        "GET /control/operations, GET /control/operations/{id}, GET /control/checkpoints, GET /control/checkpoints/{name}, "
        "GET /control/checkpoints/{name}/graph, GET /control/checkpoints/{name}/missing, GET /control/checkpoints/{name}/report"
    ),
    "control": (
        "GET /control/logs, GET /control/logs/{model}, POST /control/sleep, POST /control/wake, POST /control/switch, "
        "POST /control/pin, POST /control/unpin, PUT /control/mode, PUT /control/eviction, DELETE /control/requests/{id}"
    ),
    "admin": (
        "POST /control/reload, POST /control/drain, POST /control/undrain, PUT /control/log-level, "
        "POST /control/checkpoints/prune, POST /control/checkpoints/{name}/verify, DELETE /control/checkpoints/{name}"
    ),
}
"""Each route that there is, by what it needs. A new one comes with its place here, so that somebody has thought about it."""


async def test_what_is_said_of_the_routes_that_there_are(open_door):
    session = await open_door(Access.of(KEYS))
    found = {
        f"{route.method} {route.resource.canonical}": right_for(
            "GET" if route.method == "*" else route.method, route.resource.canonical
        )
        for route in session.app_.router.routes()
        if route.method != "HEAD"
    }
    assert found == {route: right for right, routes in SAID.items() for route in routes.split(", ")}


async def test_a_route_that_nobody_thought_of_is_for_admins(upstream, serve, make_driver, make_hands):
    app = _app.build(make_driver({"m": make_hands()}), gate=Gate(Access.of(KEYS)))
    app.add_routes([web.route("*", "/surprise", upstream.answer)])
    async with aiohttp.ClientSession(await serve(app)) as session:
        found = [await status(session, "/surprise", "GET", **bearer(role)) for role in ("wrong", *Role)]
    assert found == [401, 403, 403, 403, 200]


async def test_where_nothing_is_there_is_nothing_to_hide(open_door):
    session = await open_door(Access.of(KEYS))
    assert await status(session, "/chat/completions") == 404
    assert await status(session, "/control/sleep", "GET") == 405


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../control/sleep",
        "/v1/%2e%2e/control/sleep",
        "/%63ontrol/sleep",
        "//control/sleep",
        "/control//sleep",
        "/control/%73leep",
        "/v1/..%2fcontrol%2fsleep",
    ],
)
async def test_no_spelling_of_a_path_takes_less(open_door, path):
    session = await open_door(Access.of(KEYS))
    url = URL(f"{session._base_url}".rstrip("/") + path, encoded=True)
    assert await status(session, url, **bearer("use")) in {400, 403, 404}


async def test_who_is_not_known_is_told_how_in_openais_form(open_door):
    session = await open_door(Access.of(KEYS))
    async with asking(session, **bearer("sk-wrong-and-secret")) as response:
        body = await response.text()
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    error = json.loads(body)["error"]
    assert (error["code"], error["type"]) == ("invalid_api_key", "invalid_request_error")
    assert "sk-wrong-and-secret" not in body


async def test_no_key_reaches_an_engine_where_llmux_has_keys(open_door, upstream):
    session = await open_door(Access.of(KEYS))
    assert await status(session, **bearer("use"), **{"x-api-key": "use"}) == 200
    assert not {"Authorization", "X-Api-Key"} & set(upstream.asked[0])
    without = await open_door(Access())
    assert await status(without, **bearer("the engine's")) == 200
    assert upstream.asked[1]["Authorization"] == "Bearer the engine's"


async def test_no_key_is_in_the_log(open_door, caplog):
    caplog.set_level("DEBUG")
    session = await open_door(Access.of([Key("k", digest("the-very-key"), limits=Limits(requests=1))]))
    for text in ("the-very-key", "the-very-key", "another-very-key"):
        await status(session, **bearer(text))
        await status(session, "/control/status", "GET", **{"x-api-key": text})
    assert "very-key" not in caplog.text


async def test_a_key_sees_and_asks_for_its_models_only(open_door):
    access = Access.of([Key("k", digest("k"), models=("m",)), *KEYS])
    session = await open_door(access)
    for key, names in (("k", ["m"]), ("use", ["m", "n"])):
        async with asking(session, "/v1/models", "GET", **bearer(key)) as response:
            assert [each["id"] for each in (await response.json())["data"]] == names
    assert await status(session, "/v1/models/m", "GET", **bearer("k")) == 200
    assert await status(session, "/v1/models/n", "GET", **bearer("k")) == 403
    assert await status(session, model="m", **bearer("k")) == 200
    async with asking(session, model="n", **bearer("k")) as response:
        error = (await response.json())["error"]
    assert (response.status, error["code"], error["param"]) == (403, "model_not_allowed", "model")
    assert await status(session, model="nowhere", **bearer("k")) == 403
    assert await status(session, "/v1/models/nowhere", "GET", **bearer("k")) == 403


@pytest.mark.parametrize(("path", "method"), [(CHAT, "POST"), ("/v1/models/m-9", "GET")])
async def test_no_error_lists_models_that_a_key_may_not_use(open_door, path, method):
    session = await open_door(Access.of([Key("k", digest("k"), models=("m*",))]))
    async with asking(session, path, method, model="m-9", **bearer("k")) as response:
        error = (await response.json())["error"]
    assert (response.status, error["code"]) == (404, "model_not_found")
    assert "(configured: m)" in error["message"]


@pytest.mark.parametrize("path", [CHAT, "/control/sleep"])
@pytest.mark.parametrize(("key", "answer"), [("", b"401"), ("k", b"100"), ("control", b"100")])
async def test_a_body_is_asked_of_nobody_who_may_not_send_it(open_door, path, key, answer):
    session = await open_door(Access.of([Key("k", digest("k"), Role.ADMIN), *KEYS]))
    url = session._base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nx-api-key: {key}\r\nContent-Length: 13\r\nExpect: 100-continue\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(30):
        assert (await reader.readline()).split()[1] == answer
        if answer == b"100":
            await reader.readline()
            writer.write(b'{"model": "m"}'[:13])
            assert (await reader.readline()).split()[1] == b"400"
    writer.close()


@pytest.mark.parametrize(("expect", "status_"), [("100-continue", 200), ("200-ok", 417)])
async def test_what_is_expected_is_done_or_refused(open_door, expect, status_):
    session = await open_door(Access())
    assert await status(session, Expect=expect) == status_


async def test_every_route_asks_for_a_body_once(open_door):
    session = await open_door(Access())
    url, asked = session._base_url, set()
    for method, _, path in routes(session.app_):
        if path in asked:
            continue
        asked.add(path)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        head = f"{method} {path} HTTP/1.1\r\nHost: {url.host}\r\nConnection: close\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        writer.write(head.encode() + b"{}")
        async with asyncio.timeout(30):
            lines = [await reader.readline() for _ in range(3)]
        writer.close()
        assert lines[:2] == [b"HTTP/1.1 100 Continue\r\n", b"\r\n"], path
        assert lines[2].split()[1] != b"100", path
    assert {"/health", "/metrics", "/ui", "/v1/models", "/control/status"} <= asked


async def test_requests_are_limited_and_told_of(open_door):
    session = await open_door(Access.of([Key("k", digest("k"), limits=Limits(requests=2))]))
    async with asking(session, **bearer("k")) as response:
        assert response.headers["x-ratelimit-limit-requests"] == "2"
        assert response.headers["x-ratelimit-remaining-requests"] == "1"
    assert await status(session, **bearer("k")) == 200
    async with asking(session, **bearer("k")) as response:
        error = (await response.json())["error"]
    assert (response.status, error["code"], error["type"]) == (429, "rate_limit_exceeded", "rate_limit_error")
    assert 1 <= int(response.headers["Retry-After"]) <= 30


async def test_tokens_are_counted_from_the_answer(open_door):
    session = await open_door(Access.of([Key("k", digest("k"), limits=Limits(tokens=60))]))
    for left in (20, -20):
        assert await status(session, **bearer("k")) == 200, left
    async with asking(session, **bearer("k")) as response:
        assert response.status == 429
        assert 10 <= int(response.headers["Retry-After"]) <= 21
        assert "60 tokens a minute" in (await response.json())["error"]["message"]


async def test_what_no_engine_answered_takes_no_tokens(open_door):
    session = await open_door(Access.of([Key("k", digest("k"), models=("m",), limits=Limits(tokens=60))]))
    for asked in ({"model": "n"}, {"path": "/v1/models", "method": "GET"}):
        async with asking(session, **asked, **bearer("k")) as response:
            assert response.headers["x-ratelimit-remaining-tokens"] == "60"
    assert await status(session, "/v1/files?model=m", "GET", **bearer("k")) == 200
    async with asking(session, "/v1/models", "GET", **bearer("k")) as response:
        assert response.headers["x-ratelimit-remaining-tokens"] == "20"


@pytest.mark.parametrize("refusal", [400, 422, 429, 500])
@pytest.mark.parametrize(
    ("answers", "left"), [({"error": {"message": "x" * 400}}, "60"), ({"usage": {"prompt_tokens": 7}}, "53")]
)
async def test_what_an_engine_refuses_takes_no_tokens_but_those_that_it_tells_of(
    open_door, upstream, refusal, answers, left
):
    session = await open_door(Access.of([Key("k", digest("k"), limits=Limits(tokens=60))]))
    upstream.status, upstream.answers = refusal, answers
    assert await status(session, **bearer("k")) == refusal
    async with asking(session, "/v1/models", "GET", **bearer("k")) as response:
        assert response.headers["x-ratelimit-remaining-tokens"] == left


async def test_so_many_at_a_time_and_one_that_ends_makes_room(open_door, upstream):
    session = await open_door(Access.of([Key("k", digest("k"), limits=Limits(concurrency=1))]))
    upstream.gate.clear()
    first = asyncio.ensure_future(status(session, **bearer("k")))  # noqa: TID251 - a client of the test's own
    async with asyncio.timeout(30):
        while not upstream.asked:  # noqa: ASYNC110 - the engine has no event for it
            await asyncio.sleep(0.01)
    assert await status(session, **bearer("k")) == 429
    first.cancel()
    async with asyncio.timeout(30):
        upstream.gate.set()
        while await status(session, **bearer("k")) != 200:  # noqa: ASYNC110 - the client hears of no end
            await asyncio.sleep(0.01)


async def test_a_keys_priority_goes_with_its_requests(open_door, upstream):
    keys = [Key("low", digest("low")), Key("high", digest("high"), priority=9)]
    session = await open_door(Access.of(keys))
    hands = session.app_[DRIVER].models["m"].replicas[0].hands
    hands.gates["cold_start"] = asyncio.Event()
    queue = session.app_[DRIVER].models["m"].queue
    asked = [asyncio.ensure_future(status(session, **bearer(key))) for key in ("low", "high")]  # noqa: TID251
    async with asyncio.timeout(30):
        while len(queue) < 2:  # noqa: ASYNC110 - a queue has no event for it
            await asyncio.sleep(0.01)
    assert [ticket.priority for ticket in queue] == [9, 0]
    hands.gates["cold_start"].set()
    assert await asyncio.gather(*asked) == [200, 200]


# ---- without keys ----


async def test_without_keys_control_is_for_this_machine_only(open_door, monkeypatch):
    session = await open_door(Access())
    assert await status(session, "/control/status", "GET") == 200
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert await status(session, "/control/sleep", **headers) == 403
    monkeypatch.setattr(_gate, "_peer", lambda _request: Peer("192.0.2.7"))
    assert await status(session, "/control/status", "GET") == 403
    assert await status(session, "/health", "GET") == 200
    assert await status(session) == 200


# ---- web pages ----


async def test_a_page_may_read_where_it_is_configured_whatever_the_engine_says(open_door):
    for origins, allowed in (((), None), ((PAGE,), PAGE), (("*",), "*"), (("https://o.example",), None)):
        session = await open_door(Access.of(origins=origins))
        async with asking(session, Origin=PAGE) as response:
            assert response.status == 200
            assert response.headers.getall("Access-Control-Allow-Origin", [None]) == [allowed]
            assert "Access-Control-Allow-Credentials" not in response.headers


async def test_a_preflight_asks_no_engine_and_needs_no_key(open_door, upstream):
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    for origins, expected in (((), 403), ((PAGE,), 204), (("*",), 204)):
        session = await open_door(Access.of(KEYS, origins=origins))
        async with asking(session, CHAT, "OPTIONS", **asked) as response:
            assert response.status == expected
            assert ("Access-Control-Allow-Origin" in response.headers) == (expected == 204)
    assert not upstream.asked


async def test_a_page_that_may_read_may_read_errors_too(open_door):
    session = await open_door(Access.of(KEYS, origins=(PAGE,)))
    async with asking(session, Origin=PAGE) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (401, PAGE)


# ---- the port for admins ----


async def test_with_a_port_for_admins_the_main_one_has_v1_only(open_door):
    session = await open_door(Access(), admin_port=1)
    found = [await status(session, path, "GET") for path in ("/health", "/v1/models", "/control/status", "/")]
    assert found == [200, 200, 404, 404]
    session.app_[_gate.GATE].admin_port = session._base_url.port
    assert await status(session, "/control/status", "GET") == 200
    assert await status(session, "/v1/models", "GET") == 200
    assert await status(session, "/", "GET") == 200


def test_the_table_names_no_route_twice():
    pairs = [(method, path) for methods, path, _ in ROUTES for method in sorted(methods)]
    assert len(pairs) == len(set(pairs))
    assert all(path.startswith("/") for _, path in pairs)
