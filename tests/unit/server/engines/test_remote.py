"""Remote models before real servers: whose key goes out, over what connection, to which path; and what has no lifecycle."""

from __future__ import annotations

import json
import ssl
import subprocess  # noqa: TID251 - openssl makes the certificates
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from llmux.server._model import Eviction, Process, Weights
from llmux.server.config import Config, ModelConfig
from llmux.server.engines import remote
from llmux.server.engines.remote import KeyRefusedError, RemoteHands
from llmux.server.errors import EvictionRefused, NoCheckpoint, StartRefused


class Upstream:
    """A server that takes one key, and notes what it is sent."""

    def __init__(self, key="sk-ours"):
        self.key = key
        self.heard = []

    def app(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        return app

    async def answer(self, request):
        self.heard.append(request)
        if request.path.endswith("/away"):
            raise web.HTTPTemporaryRedirect("http://127.0.0.1:9/elsewhere")
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "Incorrect key: sk-o**s"}}, status=401)
        return web.json_response({"path": request.raw_path, "body": await request.text()})


def model(url, **fields) -> ModelConfig:
    remote = {"url": str(url), **fields}
    return ModelConfig.model_validate_json(
        json.dumps({"model_path": "gpt-x", "engine": "remote", "remote": remote})
    )


@pytest.fixture
async def living():
    """Give a function that opens the life of a remote model."""
    lives = []

    async def start(url, **fields):
        life = await RemoteHands("m", model(url, **fields)).cold_start()
        lives.append(life)
        return life

    yield start
    for life in lives:
        await life.close()
        assert life.ended


@pytest.fixture
def key_file(tmp_path) -> Path:
    path = tmp_path / "key"
    path.write_text("sk-ours\n")
    path.chmod(0o600)
    return path


async def ask(life, path="/v1/chat/completions", **options):
    url = URL(f"{life.url.origin()}{path}", encoded=True)
    async with life.session.post(url, data=b"{}", **options) as response:
        return response.status, await response.json()


async def test_the_key_goes_out_and_the_clients_own_never(serve, living, monkeypatch):
    monkeypatch.setenv("UPSTREAM_KEY", " sk-ours\n")
    upstream = Upstream()
    life = await living(await serve(upstream.app()), api_key_env="UPSTREAM_KEY")
    theirs = {
        "Authorization": "Bearer sk-theirs", "x-api-key": "sk-theirs", "api-key": "sk-theirs", "Cookie": "sk-theirs",
        "x-goog-api-key": "sk-theirs", "OpenAI-Organization": "sk-theirs", "X-Request-Id": "7",
    }  # fmt: skip
    assert await ask(life, headers=theirs) == (200, {"path": "/v1/chat/completions", "body": "{}"})
    (heard,) = upstream.heard
    assert not [name for name, value in heard.headers.items() if "theirs" in value]
    assert heard.headers["X-Request-Id"] == "7"
    assert "sk-ours" not in repr(life)


async def test_without_a_key_of_llmuxs_nobodys_goes_out(serve, living):
    upstream = Upstream(key="")
    life = await living(await serve(upstream.app()))
    await ask(life, headers={"Authorization": "Bearer sk-theirs"})
    assert "Authorization" not in upstream.heard[0].headers


async def test_some_servers_have_the_key_in_a_header_of_their_own(serve, living, key_file):
    upstream = Upstream(key="")
    life = await living(await serve(upstream.app()), api_key_file=str(key_file), api_key_header="x-api-key")
    await ask(life, headers={"X-Api-Key": "sk-theirs"})
    assert upstream.heard[0].headers["x-api-key"] == "sk-ours"
    assert "Authorization" not in upstream.heard[0].headers


async def test_a_key_that_is_refused_is_no_answer_for_the_client_and_one_that_was_replaced_is_read(
    serve, living, key_file
):
    upstream = Upstream(key="sk-new")
    life = await living(await serve(upstream.app()), api_key_file=str(key_file))
    key_file.write_text("sk-new")
    with pytest.raises(KeyRefusedError, match=r"answers 401: it does not take llmux's key for it$"):
        await ask(life)
    assert (await ask(life))[0] == 200
    key_file.unlink()
    upstream.key = "sk-newer"
    with pytest.raises(KeyRefusedError):  # and it goes on with the key that it has
        await ask(life)


@pytest.mark.parametrize(
    ("base", "asked", "there"),
    [
        ("", "/v1/chat/completions?a=%2F", "/v1/chat/completions?a=%2F"),
        ("", "/tokenize", "/tokenize"),
        ("/v1", "/v1/embeddings", "/v1/embeddings"),
        ("/v1", "/tokenize", "/tokenize"),
        ("/api/v1", "/v1/models", "/api/v1/models"),
        ("/api/v1", "/rerank", "/api/rerank"),
        ("/v1beta/openai", "/v1/chat/completions", "/v1beta/openai/chat/completions"),
        ("/v1beta/openai/", "/v1/files/a%2Fb", "/v1beta/openai/files/a%2Fb"),
    ],
)
async def test_a_path_of_the_base_stands_in_place_of_v1(serve, living, base, asked, there):
    upstream = Upstream(key="")
    life = await living(f"{(await serve(upstream.app())).origin()}{base}")
    assert (await ask(life, asked))[1]["path"] == there


async def test_a_server_that_is_not_there_is_a_clients_error(living):
    life = await living("http://127.0.0.1:9")
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(life)
    assert await life.fault() == ""  # no reason to give it up: there is nothing to be started again


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """Make a key and a certificate for localhost that nobody has signed but itself, in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    make += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        str(path),
        "-out",
        f"{path}.crt",
    ]
    subprocess.run(make, check=True, capture_output=True)
    with path.open("a") as both:
        both.write(Path(f"{path}.crt").read_text())
    return path


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("trusted", [True, False])
async def test_the_certificate_has_to_be_signed_and_of_this_host(living, certificate, host, trusted):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    server = TestServer(Upstream(key="").app(), host="127.0.0.1")
    await server.start_server(ssl=context)
    try:
        fields = {"ca_file": f"{certificate}.crt"} if trusted else {}
        life = await living(f"https://{host}:{server.port}/v1", **fields)
        if trusted and host == "localhost":
            assert (await ask(life))[0] == 200
        else:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await ask(life)
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"api_key_env": "NO_SUCH_KEY"}, "models.m.remote.api_key_env: NO_SUCH_KEY is empty, or not there"),
        ({"api_key_file": "/no/such/file"}, "models.m.remote.api_key_file: cannot read /no/such/file"),
        ({"api_key_file": "/dev/null"}, "models.m.remote.api_key_file: /dev/null is no regular file"),
        ({"ca_file": "/no/such/file"}, "models.m.remote.ca_file: /no/such/file cannot be used"),
        ({"ca_file": "/dev/null"}, "models.m.remote.ca_file: /dev/null cannot be used"),
    ],
)
def test_what_cannot_be_read_is_told_before_anything_starts(fields, expected):
    config = Config(models={"m": model("https://x", **fields)})
    with pytest.raises(StartRefused) as refused:
        remote.check(config)
    assert refused.value.what().startswith(expected)


def test_a_key_that_everybody_can_read_is_none(key_file):
    key_file.chmod(0o644)
    with pytest.raises(StartRefused, match="everybody on this machine can read"):
        remote.check(Config(models={"m": model("https://x", api_key_file=str(key_file))}))


def test_a_key_with_a_line_break_in_it_adds_no_header(tmp_path):
    path = tmp_path / "key"
    path.write_text("sk\r\nX-Evil: 1")
    path.chmod(0o640)
    with pytest.raises(StartRefused, match="holds no key") as refused:
        remote.check(Config(models={"m": model("https://x", api_key_file=str(path))}))
    assert "Evil" not in str(refused.value)


async def test_it_has_no_lifecycle(living):
    hands = RemoteHands("m", model("http://127.0.0.1:9"))
    life = await living("http://127.0.0.1:9")
    for eviction in (Eviction(Weights.DISCARD, Process.STOP), Eviction(Weights.RETAIN, Process.CHECKPOINT)):
        assert "runs elsewhere" in hands.refusal(eviction)
    assert (await hands.adopt(), await hands.find(), await hands.reusable(life, eviction)) == (
        None,
        None,
        None,
    )
    for doing in (life.quieten(Weights.DISCARD), life.dump(Path("/x")), hands.dump(life, eviction, 0.0)):
        with pytest.raises(EvictionRefused, match="m runs elsewhere"):
            await doing
    with pytest.raises(NoCheckpoint):
        await hands.restore()
    await life.resume(Weights.DISCARD)
    await hands.forget()
    assert await life.memory() == 0
    assert (await life.post_mortem("silence")).code == "engine_hung"
    await life.close()
    assert (await life.wait()).code == "engine_closed"
