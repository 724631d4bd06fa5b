"""The proxy before a real aiohttp engine: bytes as they are, streams as they come, and every way a side can go away."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from llmux.server import _app

CHAT = "/v1/chat/completions"


class Upstream:
    """An engine that keeps what it was asked and can be stopped in the middle of an answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.go_on = asyncio.Event()
        self.cancelled = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.add_routes(
            [
                web.post("/v1/stream", self.stream),
                web.post("/v1/break", self.break_off),
                web.post("/v1/slam", self.slam),
                web.route("*", "/{path:.*}", self.echo),
            ]
        )
        return app

    async def echo(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append((request.method, request.raw_path, dict(request.headers), body))
        headers = {"X-Engine": "1", "Content-Encoding": "gzip", "Set-Cookie": "a=b"}
        return web.Response(status=418, reason="Teapot", body=b"\x1f\x8bnot really", headers=headers)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await response.write(b"data: 1\n\n")
            await self.go_on.wait()
            await response.write(b"data: [DONE]\n\n")
        except (asyncio.CancelledError, ConnectionError):
            self.cancelled.set()
            raise
        return response

    async def break_off(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"the first ha")
        request.transport.close()
        return response

    async def slam(self, request: web.Request) -> web.Response:
        request.transport.close()
        return web.Response()


@pytest.fixture
async def upstream():
    return Upstream()


@pytest.fixture
async def client(upstream, serve, make_driver, make_hands):
    url = await serve(upstream.app())
    driver = make_driver({"m": make_hands(url=url), "other": make_hands(url=url)})
    base = await serve(_app.build(driver))
    async with aiohttp.ClientSession(base, auto_decompress=False) as session:
        session.driver_ = driver  # for the tests that look at a state
        yield session


@asynccontextmanager
async def asking(client, path, **fields):
    async with client.post(path, json={"model": "m"} | fields) as response:
        yield response


async def test_bodies_and_headers_pass_untouched_both_ways(client, upstream):
    body = b'{ "model":"m",  "x" : "\\u00e9\xc3\xa9" }'
    headers = {
        "Content-Type": "application/json",
        "Authorization": "Bearer t",
        "X-Mine": "1",
        "Accept": "a/b",
    }
    async with client.post("/v1/some%2Fpath?q=%20a&b", data=body, headers=headers) as response:
        assert (response.status, response.reason) == (418, "Teapot")
        assert await response.read() == b"\x1f\x8bnot really"
        assert response.headers["X-Engine"] == "1"
        assert response.headers["Content-Encoding"] == "gzip"
    method, path, seen, got = upstream.asked[0]
    assert (method, path, got) == ("POST", "/v1/some%2Fpath?q=%20a&b", body)
    assert headers.items() <= seen.items()


async def test_no_cookie_of_one_client_reaches_another(client, upstream):
    for _ in range(2):
        async with asking(client, CHAT):
            pass
    assert not any("Cookie" in headers for _, _, headers, _ in upstream.asked)


async def test_a_body_larger_than_aiohttps_default_passes(client, upstream):
    body = io.BytesIO(json.dumps({"model": "m", "filler": "x" * (8 << 20)}).encode())
    async with client.post(CHAT, data=body) as response:
        assert response.status == 418
    assert len(upstream.asked[0][3]) > 8 << 20


async def test_a_packed_body_is_routed_and_goes_on_unpacked(client, upstream):
    """Engines do not unpack bodies, and llmux has to read them anyway."""
    body = json.dumps({"model": "m"}).encode()
    async with client.post(CHAT, data=gzip.compress(body), headers={"Content-Encoding": "gzip"}) as response:
        assert response.status == 418
    _, _, headers, got = upstream.asked[0]
    assert got == body
    assert "Content-Encoding" not in headers


@pytest.mark.parametrize(
    "path", ["/v1/../sleep?level=2", "/v1/%2e%2e/sleep", "/v1/x/..%2f..%2fcollective_rpc", "/v1/."]
)
async def test_no_path_leads_out_of_v1(client, upstream, path):
    url = URL(f"{client._base_url}".rstrip("/") + path, encoded=True)
    async with client.post(url, json={"model": "m"}) as response:
        assert response.status in {400, 404}
        assert (await response.json())["error"]["message"]
    assert not upstream.asked


@pytest.mark.parametrize(
    "path", ["/tokenize", "/detokenize", "/pooling", "/score", "/v2/rerank", "/invocations"]
)
async def test_what_vllm_serves_beside_v1_passes(client, upstream, path):
    async with asking(client, path) as response:
        assert response.status == 418
    assert upstream.asked[0][1] == path


@pytest.mark.parametrize(
    "path",
    [
        "/sleep",
        "/wake_up",
        "/collective_rpc",
        "/reset_prefix_cache",
        "/load_lora_adapter",
        "/server_info",
        "/instance",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/v1/%6coad_lora_adapter",
        "/v1/load_lora_adapter/",
    ],
)
async def test_no_call_for_development_or_administration_is_passed_on(client, upstream, path):
    url = URL(f"{client._base_url}".rstrip("/") + path, encoded=True)
    async with client.post(url, json={"model": "m"}) as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "not_found"
    assert not upstream.asked


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/v1/messages", b'{"model": "nope"}', 404, "not_found_error"),
        ("/v1/messages/count_tokens", b"{", 400, "invalid_request_error"),
        ("/v1/messages/../x", b"", 400, "invalid_request_error"),
        ("/v1/slam_messages", b"{", 400, None),
    ],
)
async def test_errors_of_anthropics_api_are_in_its_form(client, path, body, status, kind):
    url = URL(f"{client._base_url}".rstrip("/") + path, encoded=True)
    async with client.post(url, data=body) as response:
        answer = await response.json()
        assert response.status == status
    if kind:
        assert (answer["type"], answer["error"]["type"]) == ("error", kind)
        assert set(answer["error"]) == {"type", "message"}
    else:
        assert "param" in answer["error"]


async def test_head_and_get_pass_without_a_body(client, upstream):
    for method in ("HEAD", "GET", "DELETE"):
        async with client.request(method, "/v1/files/7?model=m") as response:
            assert response.status == 418
            assert bool(await response.read()) is (method != "HEAD")
    assert [(method, body) for method, _, _, body in upstream.asked] == [
        ("HEAD", b""),
        ("GET", b""),
        ("DELETE", b""),
    ]


async def test_a_request_to_an_engine_that_ends_at_its_admission_is_answered_by_the_next(client):
    async with asking(client, CHAT):
        pass
    await client.driver_.models["m"].replicas[0].life.session.close()
    async with asking(client, CHAT) as response:
        assert response.status == 418
        assert response.headers["x-llmux-wake"] == "cold"


async def test_a_stream_comes_piece_by_piece(client, upstream):
    async with asking(client, "/v1/stream", stream=True) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        async with asyncio.timeout(30):
            assert await response.content.readany() == b"data: 1\n\n"
        upstream.go_on.set()
        assert await response.content.read() == b"data: [DONE]\n\n"


async def test_a_client_that_goes_away_cancels_the_request_in_the_engine(client, upstream):
    response = await client.post("/v1/stream", json={"model": "m"})
    await response.content.readany()
    response.close()
    async with asyncio.timeout(30):
        await upstream.cancelled.wait()
        while client.driver_.models["m"].replicas[0].flights:  # noqa: ASYNC110 - it is counted out a moment later
            await asyncio.sleep(0.001)


async def test_an_engine_that_breaks_off_is_seen_by_the_client(client):
    async with asking(client, "/v1/break") as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_an_engine_that_answers_nothing_is_a_502_in_openais_form(client):
    async with asking(client, "/v1/slam") as response:
        assert response.status == 502
        error = (await response.json())["error"]
        assert (error["type"], error["code"]) == ("server_error", "engine_gone")


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b'{"model": "nope"}', 404, "model_not_found", "model"),
        (b"{", 400, "invalid_request", None),
        (b"{}", 400, "invalid_request", "model"),
        (b"", 400, "invalid_request", "model"),
    ],
)
async def test_a_request_that_names_no_known_model_is_told_so(client, body, status, code, param):
    async with client.post(CHAT, data=body) as response:
        assert response.status == status
        error = (await response.json())["error"]
        assert (error["code"], error["param"], error["type"]) == (code, param, "invalid_request_error")
        assert error["message"]


async def test_a_form_is_routed_by_its_model_field(client, upstream):
    form = aiohttp.FormData({"model": "other"})
    form.add_field("file", b"\xff\x00", filename="a.wav")
    async with client.post("/v1/audio/transcriptions", data=form) as response:
        assert response.status == 418
    assert client.driver_.models["other"].replicas[0].last_wake
    assert b"\xff\x00" in upstream.asked[0][3]


async def test_a_request_without_a_body_is_routed_by_its_query(client, upstream):
    async with client.get("/v1/responses/1?model=other") as response:
        assert response.status == 418
    async with client.get("/v1/responses/1") as response:
        assert response.status == 404
        assert "no model is known to have responses/1" in (await response.json())["error"]["message"]
    async with client.get("/v1/files") as response:
        assert response.status == 400


async def test_models_are_listed_without_waking_any(client):
    async with client.get("/v1/models") as response:
        listed = await response.json()
    assert [model["id"] for model in listed["data"]] == ["m", "other"]
    async with client.get("/v1/models/other") as response:
        assert (await response.json())["object"] == "model"
    async with client.get("/v1/models/nope") as response:
        assert response.status == 404
    assert client.driver_.models["m"].replicas[0].last_wake is None


async def test_unknown_paths_and_wrong_methods_are_errors_in_json(client):
    async with client.get("/nowhere") as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "not_found"
    async with client.get("/control/sleep") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"


async def test_a_model_that_cannot_start_is_a_503_with_the_reason(serve, make_driver, make_hands):
    base = await serve(_app.build(make_driver({"m": make_hands(broken={"cold_start"})})))
    async with aiohttp.ClientSession(base) as session, session.post(CHAT, json={"model": "m"}) as response:
        assert response.status == 503
        error = json.loads(await response.read())["error"]
        assert "cold_start is broken" in error["message"]
        assert error["hint"] == "mend it"
