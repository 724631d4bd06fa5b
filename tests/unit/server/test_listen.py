"""Real sockets before real handlers: smuggled, oversized, slow, half-closed and foreign requests, Unix sockets, TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
import ssl
import stat
import struct
import subprocess  # noqa: TID251 - openssl makes a certificate

import aiohttp
import pytest
from aiohttp import web
from ports import free_port

from llmux.server import _app, _listen, _request_log, config
from llmux.server._gate import Gate
from llmux.server._patience import Patience
from llmux.server.access.keys import Key, digest
from llmux.server.access.policy import Access
from llmux.server.errors import AddressTaken

CHAT = b'{"model": "m"}'
KEYED = Access.of([Key("k", digest("the-very-key"))])


class Upstream:
    """An engine that keeps what it is asked, and streams for ever where it is asked to."""

    def __init__(self):
        self.asked = []
        self.ended = asyncio.Event()

    def app(self):
        app = web.Application()
        app.add_routes([web.get("/v1/flood", self.flood), web.get("/v1/wait", self.wait)])
        app.add_routes([web.route("*", "/{path:.*}", self.answer)])
        return app

    async def answer(self, request):
        self.asked.append((request.method, request.raw_path, await request.read()))
        return web.json_response({"it": "is the engine"})

    async def flood(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        finally:
            self.ended.set()

    async def wait(self, request):
        self.asked.append((request.method, request.raw_path, b""))
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


@pytest.fixture
async def upstream():
    return Upstream()


@pytest.fixture
async def opened(upstream, serve, make_driver, make_hands):
    """Give a function that listens as configured, and gives the port."""
    url = await serve(upstream.app())
    async with contextlib.AsyncExitStack() as ends:

        async def start(access=Access(), context=None, body=1 << 20, *, admin=False, **listen):  # noqa: B008
            port, other = free_port(), free_port() if admin else None
            fields = {"host": "127.0.0.1", "port": port, "admin_port": other, "listen": listen}
            models = {"m": {"model_path": "x", "port": 8001}}
            settings = config.parse(json.dumps({"models": models, **fields}))
            driver = make_driver({"m": make_hands(url=url)})
            patience = Patience(settings.listen.body_timeout, settings.listen.body_rate)
            gate = Gate(access, patience, other)
            app = _app.build(driver, gate=gate, largest_body=body)
            runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
            await runner.setup()
            ends.push_async_callback(runner.cleanup)
            await _listen.open_all(runner, settings, context, ends)
            return (port, other) if admin else port

        yield start


async def talk(port, *pieces, pause=0.0, seconds=5.0, end=False):
    """Send pieces, and return all that comes back until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(seconds):
            for piece in pieces:
                if reader.at_eof() or writer.is_closing():
                    break
                writer.write(piece)
                await asyncio.sleep(pause)
            if end:
                writer.write_eof()
            return await reader.read()
    finally:
        writer.transport.abort()


def post(body=CHAT, *headers, path=b"/v1/x"):
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: localhost", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def statuses(answer):
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", answer)]


def error_in(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/json" in head
    return json.loads(body)["error"]


CLOSE = b"Connection: close"
LENGTH = b"Content-Length: %d" % len(CHAT)


@pytest.mark.parametrize(("path", "kind"), [(b"/v1/messages", "api_error"), (b"/v1/x", "server_error")])
async def test_a_fault_outside_of_all_handlers_is_a_500_in_its_paths_form(opened, monkeypatch, path, kind):
    monkeypatch.setattr(_request_log, "end", None)
    answer = await talk(await opened(), post(b"{}", b"Content-Length: 2", path=path))
    assert statuses(answer) == [500]
    error = error_in(answer)
    assert (error["type"], error["message"]) == (kind, "llmux failed unforeseen. See llmux's log")


SECOND = b"GET /v1/smuggled?model=m HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CHAT), CHAT)


async def test_a_plain_request_passes(opened, upstream):
    answer = await talk(await opened(), post(CHAT, LENGTH, CLOSE))
    assert statuses(answer) == [200]
    answer = await talk(await opened(), post(CHUNKED, b"Transfer-Encoding: chunked", CLOSE))
    assert statuses(answer) == [200]
    assert [body for _, _, body in upstream.asked] == [CHAT, CHAT]


# ---- smuggled ----


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([b"Content-Length: 4", b"Transfer-Encoding: chunked"], CHUNKED + SECOND),
        ([b"Transfer-Encoding: chunked", b"Content-Length: %d" % len(CHUNKED)], CHUNKED + SECOND),
        ([LENGTH, b"Content-Length: %d" % (len(CHAT) + len(SECOND))], CHAT + SECOND),
        ([LENGTH, LENGTH], CHAT + SECOND),
        ([b"Content-Length: +14"], CHAT + SECOND),
        ([b"Content-Length: 14, 14"], CHAT + SECOND),
        ([b"Content-Length: -1"], CHAT),
        ([b"Content-Length: 0x0e"], CHAT),
        ([b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"], CHUNKED + SECOND),
        ([b"Transfer-Encoding: chunked, identity"], CHUNKED + SECOND),
        ([b"Transfer-Encoding: xchunked"], CHUNKED + SECOND),
        ([b"Transfer-Encoding : chunked"], CHUNKED + SECOND),
        ([b"Transfer-Encoding:\x0bchunked"], CHUNKED + SECOND),
        ([b"Content-Length : 14"], CHAT + SECOND),
        ([b" Content-Length: 14"], CHAT + SECOND),
        ([b"X: y\nContent-Length: 99", LENGTH], CHAT + SECOND),
        ([b"X: y\0z", LENGTH], CHAT),
        ([b"Transfer-Encoding: chunked"], b"%x;\n%s\r\n0\r\n\r\n" % (len(CHAT), CHAT) + SECOND),
        ([b"Transfer-Encoding: chunked"], b"0x%x\r\n%s\r\n0\r\n\r\n" % (len(CHAT), CHAT) + SECOND),
        ([b"Transfer-Encoding: chunked"], b"fffffffffffffffff\r\n%s\r\n0\r\n\r\n" % CHAT),
    ],
)
async def test_of_a_request_with_two_ends_nothing_reaches_an_engine_as_another(
    opened, upstream, headers, body
):
    answer = await talk(await opened(), post(body, *headers), pause=0.05, end=True)
    assert not [path for _, path, _ in upstream.asked if "smuggled" in path]
    assert 200 not in statuses(answer)
    for status in statuses(answer):
        assert status in {400, 501}


async def test_what_is_refused_ends_the_connection_in_openais_form(opened):
    answer = await talk(await opened(), post(CHAT + SECOND, LENGTH, LENGTH))
    assert statuses(answer) == [400]
    assert error_in(answer)["code"] == "bad_request"


@pytest.mark.parametrize("seed", range(4))
async def test_garbled_requests_get_past_nothing_and_break_nothing(opened, upstream, seed, caplog):
    """Of a request without a key, whatever becomes of its bytes, no engine hears."""
    port, dice = await opened(KEYED), random.Random(seed)
    pieces = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b":",
        b" ",
        b"\t",
        b"chunked",
        b"0\r\n\r\n",
        SECOND,
        b"\xff",
        b"Content-Length: 3\r\n",
        CHUNKED,
    ]
    for _ in range(60):
        sent = bytearray(
            post(CHAT, dice.choice([LENGTH, b"Transfer-Encoding: chunked"]), b"X-Api-Key: wrong")
        )
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(sent))
            sent[at : at + dice.randint(0, 4)] = dice.choice(pieces)
        answer = await talk(port, bytes(sent), end=True)
        assert not {status for status in statuses(answer) if status >= 500 and status != 501}, bytes(sent)
    assert not upstream.asked
    assert "Traceback" not in caplog.text
    assert statuses(await talk(port, post(CHAT, LENGTH, CLOSE, b"X-Api-Key: the-very-key"))) == [200]


async def test_pipelined_requests_are_answered_each_in_its_turn(opened, upstream):
    two = post(CHAT, LENGTH, path=b"/v1/one") + post(CHAT, LENGTH, CLOSE, path=b"/v1/two")
    assert statuses(await talk(await opened(), two)) == [200, 200]
    assert [path for _, path, _ in upstream.asked] == ["/v1/one", "/v1/two"]


async def test_what_cannot_be_read_is_not_in_the_log(opened, caplog):
    caplog.set_level("DEBUG")
    port = await opened(KEYED)
    await talk(port, post(CHAT, b"Authorization: Bearer the-very-key\0"))
    await talk(port, b"the-very-key\r\n\r\n")
    await talk(port, post(CHAT, b"Authorization: Bearer the-very-key" + b"y" * 20000))
    assert "the-very-key" not in caplog.text
    assert "Traceback" not in caplog.text


# ---- paths ----


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/../sleep?level=1",
        b"/v1/%2e%2e/collective_rpc",
        b"/v1/..%2fsleep",
        b"/v1%2f..%2fsleep",
        b"/v1/x/%2e%2e%2f%2e%2e%2fsleep",
        b"/v1/..%5csleep",
        b"/v1/.%2e/sleep",
        b"http://localhost/v1/../sleep",
        b"http://127.0.0.1:8001/sleep",
        b"http://localhost/sleep",
        b"//localhost/sleep",
        b"/sleep",
        b"/wake_up",
        b"/collective_rpc",
        b"/reset_prefix_cache",
        b"*",
        b"/v1\\..\\sleep",
        b"/./v1/../sleep",
    ],
)
async def test_no_target_leads_to_an_engines_own_calls(opened, upstream, target):
    answer = await talk(await opened(), post(CHAT, LENGTH, CLOSE, path=target))
    assert statuses(answer)[0] in {400, 404}
    assert not upstream.asked


async def test_an_absolute_target_is_served_here_and_as_the_path_it_has(opened, upstream):
    target = b"http://elsewhere.example:99/v1/x?a=b"
    assert statuses(await talk(await opened(), post(CHAT, LENGTH, CLOSE, path=target))) == [200]
    assert [path for _, path, _ in upstream.asked] == ["/v1/x?a=b"]


async def test_it_is_no_proxy_to_anywhere(opened, upstream):
    answer = await talk(await opened(), b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n", end=True)
    assert 200 not in statuses(answer)
    assert not upstream.asked


# ---- oversized ----


async def test_a_body_over_the_limit_is_a_413_however_it_comes(opened, upstream):
    port = await opened(body=1000)
    big = b"x" * 2000
    for request in (
        post(big, b"Content-Length: 2000", CLOSE),
        post(b"7d0\r\n" + big + b"\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", CLOSE),
    ):
        assert statuses(await talk(port, request)) == [413]
    assert not upstream.asked


async def test_a_line_over_the_limit_is_a_431(opened):
    port = await opened(largest_header=2048)
    assert statuses(await talk(port, post(CHAT, LENGTH, b"X: " + b"y" * 3000))) == [431]
    answer = await talk(port, post(CHAT, LENGTH, path=b"/v1/" + b"y" * 3000))
    assert statuses(answer) == [431]
    assert "largest_header" in error_in(answer)["hint"]


async def test_too_many_headers_are_a_400(opened):
    port = await opened(most_headers=20)
    many = [b"X-%d: y" % number for number in range(40)]
    assert statuses(await talk(port, post(CHAT, LENGTH, *many))) == [400]


async def test_who_is_not_known_is_answered_before_the_body_has_come(opened):
    answer = await talk(await opened(KEYED), post(b"", b"Content-Length: 1000000"), seconds=10)
    assert statuses(answer) == [401]


# ---- slow ----


async def test_a_head_that_does_not_come_ends_the_connection(opened):
    port = await opened(idle_timeout=0.3)
    assert await talk(port) == b""
    assert await talk(port, b"GET /health HT", b"TP/1.1\r\nX: ", *[b"y"] * 50, pause=0.05) == b""


async def test_a_body_that_does_not_come_is_a_408(opened, upstream):
    port = await opened(body_timeout=0.4)
    answer = await talk(port, post(b'{"mod', LENGTH))
    assert statuses(answer) == [408]
    assert error_in(answer)["code"] == "request_too_slow"
    assert not upstream.asked


async def test_a_body_that_trickles_is_a_408_too(opened, upstream):
    port = await opened(body_timeout=0.4, body_rate=1000)
    answer = await talk(port, post(b"", b"Content-Length: 100"), *[b"y"] * 20, pause=0.05)
    assert statuses(answer) == [408]
    assert not upstream.asked


async def test_a_body_that_comes_slowly_enough_passes(opened, upstream):
    port = await opened(body_timeout=0.4, body_rate=1)
    pieces = [CHAT[at : at + 1] for at in range(len(CHAT))]
    answer = await talk(port, post(b"", LENGTH, CLOSE), *pieces, pause=0.06)
    assert statuses(answer) == [200]
    assert [body for _, _, body in upstream.asked] == [CHAT]


async def test_a_client_that_reads_nothing_is_cut_off_and_its_engine_freed(opened, upstream):
    port = await opened(send_timeout=0.5)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /v1/flood?model=m HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(30):
            await upstream.ended.wait()


@pytest.fixture
def tls(tmp_path):
    """Give what a server speaks TLS with, and a client who trusts it."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
    files = ["-subj", "/CN=localhost", "-keyout", key, "-out", certificate]
    subprocess.run([*new, *files], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context, ssl.create_default_context(cafile=certificate)


async def test_a_client_that_reads_nothing_over_tls_is_cut_off_too(opened, upstream, tls):
    context, trusting = tls
    port = await opened(context=context, send_timeout=0.5)

    def ask():
        client = socket.create_connection(("127.0.0.1", port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        secure = trusting.wrap_socket(client, server_hostname="localhost")
        secure.sendall(b"GET /v1/flood?model=m HTTP/1.1\r\nHost: x\r\n\r\n")
        return secure

    with contextlib.closing(await asyncio.to_thread(ask)):
        async with asyncio.timeout(30):
            await upstream.ended.wait()


async def test_a_client_that_reads_slowly_is_not(opened):
    port = await opened(send_timeout=0.4)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(b"GET /v1/flood?model=m HTTP/1.1\r\nHost: x\r\n\r\n")
    got = 0
    for _ in range(20):
        await asyncio.sleep(0.06)
        got += len(await reader.read(65536))
    assert got > 0
    assert not reader.at_eof()
    writer.transport.abort()


async def test_one_client_too_many_is_hung_up_on_until_another_has_gone(opened, tmp_path):
    path = tmp_path / "llmux.sock"
    port = await opened(most_connections=2, unix_socket=str(path))
    asked = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with (
        socket.create_connection(("127.0.0.1", port)),
        socket.create_connection(("127.0.0.1", port)) as second,
    ):
        await asyncio.sleep(0.1)
        with contextlib.suppress(ConnectionResetError):
            assert await talk(port, asked) == b""
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
            session.get("http://anything/control/status") as response,
        ):
            assert response.status == 200
        second.close()
        await asyncio.sleep(0.1)
        assert statuses(await talk(port, asked)) == [200]


# ---- half-closed and gone ----


async def test_a_client_that_closes_its_half_has_gone_and_its_engine_is_freed(opened, upstream):
    answer = await talk(
        await opened(), b"GET /v1/wait?model=m HTTP/1.1\r\nHost: x\r\n\r\n", pause=0.2, end=True
    )
    assert answer == b""
    async with asyncio.timeout(30):
        await upstream.ended.wait()


async def test_a_body_that_is_broken_off_reaches_no_engine(opened, upstream):
    port = await opened()
    assert 200 not in statuses(await talk(port, post(CHAT[:5], LENGTH), pause=0.1, end=True))
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(post(CHAT[:5], LENGTH))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert statuses(await talk(port, post(CHAT, LENGTH, CLOSE))) == [200]
    assert len(upstream.asked) == 1


# ---- places ----


async def test_a_port_for_admins_has_what_the_main_one_has_not(opened):
    port, admin = await opened(admin=True)
    asked = b"GET /control/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert statuses(await talk(port, asked)) == [404]
    assert statuses(await talk(admin, asked)) == [200]


async def test_over_a_unix_socket_the_kernel_says_who_asks(opened, tmp_path):
    path = tmp_path / "run/llmux.sock"
    await opened(KEYED, unix_socket=str(path), unix_mode="0600")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["llmux.sock"]
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        session.get("http://anything/control/status") as response,
    ):
        assert response.status == 200


def test_a_socket_that_nobody_listens_on_is_replaced_and_nothing_else(tmp_path):
    path = tmp_path / "llmux.sock"
    first = _listen.bind(path, 0o666)
    with pytest.raises(OSError, match="in use"):
        _listen.bind(path, 0o666)
    first.close()
    _listen.bind(path, 0o666).close()
    path.unlink()
    path.write_text("somebody's")
    with pytest.raises(FileExistsError):
        _listen.bind(path, 0o666)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        _listen.bind(path, 0o666)
    assert [each.name for each in tmp_path.iterdir()] == ["llmux.sock"]


def test_no_file_is_opened_to_all_through_a_link_in_the_sockets_place(tmp_path):
    secret, place = tmp_path / "secret", tmp_path / ".llmux.sock.1"
    secret.touch(0o600)
    place.symlink_to(secret)
    with pytest.raises(FileExistsError):
        _listen._let_in(place, 0o666)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


@pytest.mark.parametrize("field", ["port", "admin_port", "metrics_port"])
async def test_a_taken_port_is_found_out_before_anything_is_begun(field):
    models = {"m": {"model_path": "x", "port": 8001}}
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        taken, free = server.getsockname()[1], other.getsockname()[1]
        other.close()
        ports = {"port": free, "admin_port": None} | {field: taken}
        settings = config.parse(json.dumps({"models": models, "host": "127.0.0.1", **ports}))
        with pytest.raises(
            AddressTaken,
            match=f"cannot listen on 127.0.0.1:{taken}: .*Stop what listens there, or change `{field}`",
        ):
            await _listen.check_ports(settings)
    await _listen.check_ports(settings)
    with socket.create_server(("127.0.0.1", taken)):
        pass


async def test_a_place_that_is_taken_is_named(opened, tmp_path):
    path = tmp_path / "taken"
    path.write_text("")
    with pytest.raises(AddressTaken, match=f"cannot listen on {path}: "):
        await opened(unix_socket=str(path))
