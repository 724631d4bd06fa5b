"""The client of the control API: what addresses may look like, what it sends, and what answers come to."""

from __future__ import annotations

import socket

import pytest
from aiohttp import web
from yarl import URL

from llmux.server._client import Client, Declined, NotReached, Target


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://localhost:3000"),
        ("localhost:8080", "http://localhost:8080"),
        ("http://a.example", "http://a.example:3000"),
        ("http://a.example:80/", "http://a.example"),
        ("https://a.example", "https://a.example"),
        ("https://a.example:8443", "https://a.example:8443"),
        ("[::1]:3001", "http://[::1]:3001"),
    ],
)
def test_an_address_is_a_host_a_port_or_a_url(host, url):
    assert Target.of(host).url == URL(url)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":",
        "ftp://a",
        "http://a/path",
        "a:port",
        "a:99999",
        "http://user:pw@a",
        "unix:relative",
        "http://",
    ],
)
def test_what_is_none_is_refused(host):
    with pytest.raises(ValueError):  # noqa: PT011 - urllib's own words too
        Target.of(host)


def test_a_token_is_not_in_what_is_printed():
    assert "secret" not in repr(Target.of("localhost", "secret"))


class Llmux:
    """Answers as it is told to, and keeps what it was sent."""

    def __init__(self) -> None:
        self.answer: object = {}
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body: object = None

    async def handle(self, request: web.Request) -> web.Response:
        self.headers = dict(request.headers)
        self.body = await request.json() if request.can_read_body else None
        if isinstance(self.answer, str):
            return web.Response(text=self.answer, status=self.status)
        return web.json_response(self.answer, status=self.status)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app


@pytest.fixture
def llmux():
    return Llmux()


async def test_it_sends_its_token_and_returns_the_object(serve, llmux):
    llmux.answer = {"models": {}}
    async with Client(Target.of(str(await serve(llmux.app())), "t0k3n")) as client:
        assert await client.get("/control/status") == {"models": {}}
        assert llmux.headers["Authorization"] == "Bearer t0k3n"
        await client.post("/control/sleep", {"model": "m"})
        assert llmux.body == {"model": "m"}


async def test_without_a_token_it_sends_none(serve, llmux):
    async with Client(Target.of(str(await serve(llmux.app())))) as client:
        await client.get("/")
    assert "Authorization" not in llmux.headers


async def test_it_speaks_over_a_socket_of_unix(llmux, tmp_path):
    runner = web.AppRunner(llmux.app())
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "s")).start()
    llmux.answer = {"a": 1}
    async with Client(Target.of(f"unix:{tmp_path}/s")) as client:
        assert await client.get("/control/status") == {"a": 1}
    await runner.cleanup()


async def test_an_error_is_llmuxs_words_with_the_hint_once(serve, llmux):
    llmux.status = 404
    error = {"message": "no 'x'. Say y", "code": "model_not_found", "type": "t", "hint": "Say y"}
    llmux.answer = {"error": error}
    async with Client(Target.of(str(await serve(llmux.app())))) as client:
        with pytest.raises(Declined) as caught:
            await client.get("/")
    assert (caught.value.status, caught.value.code_) == (404, "model_not_found")
    assert str(caught.value) == "no 'x'. Say y"


async def test_who_is_locked_out_is_told_how_to_get_in(serve, llmux):
    llmux.status, llmux.answer = 401, {"error": {"message": "no token"}}
    async with Client(Target.of(str(await serve(llmux.app())))) as client:
        with pytest.raises(Declined, match=r"no token\. Give its token by LLMUX_TOKEN"):
            await client.get("/")


@pytest.mark.parametrize(
    ("status", "answer"), [(200, "<html>"), (502, "bad gateway"), (200, "[]"), (200, "")]
)
async def test_what_is_not_llmux_is_told(serve, llmux, status, answer):
    llmux.status, llmux.answer = status, answer
    async with Client(Target.of(str(await serve(llmux.app())))) as client:
        with pytest.raises(NotReached, match="Is that llmux's port"):
            await client.get("/")


@pytest.mark.parametrize("answer", [{"detail": "Not Found"}, {"error": {"code": 404, "message": "no"}}])
async def test_an_engine_that_answers_is_told_from_llmux(serve, llmux, answer):
    llmux.status, llmux.answer = 404, answer
    async with Client(Target.of(str(await serve(llmux.app())))) as client:
        said = r"what answers at http://127\.0\.0\.1:\d+ is not llmux: it has no /control/status\. Say where"
        with pytest.raises(NotReached, match=said):
            await client.get("/control/status?x=1")
        with pytest.raises(Declined):  # llmux passes an engine's own refusal on
            await client.get("/v1/completions")


async def test_a_redirect_is_not_followed_with_the_token(serve, llmux):
    llmux.status, llmux.answer = 302, "elsewhere"
    async with Client(Target.of(str(await serve(llmux.app())), "t")) as client:
        with pytest.raises(NotReached, match="302"):
            await client.get("/")


async def test_where_nobody_listens_it_says_where_it_looked():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    async with Client(Target.of(f"127.0.0.1:{port}")) as client:
        with pytest.raises(
            NotReached,
            match=rf"127\.0\.0\.1:{port}: Connection refused\. Is `llmux serve` running\? Say where it is with --host",
        ):
            await client.get("/")
