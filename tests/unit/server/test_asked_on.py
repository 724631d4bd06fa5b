"""What an engine is sent, byte for byte: one well-formed request, whatever a client has sent."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json

import pytest
from aiohttp import web
from yarl import URL

from llmux.server import _app

CHAT = b'{"model": "m"}'
SMUGGLED = b"GET /sleep HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def engine():
    """Give an engine that keeps each byte, and answers each connection once: its port, and what it was sent."""
    sent: list[bytearray] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.append(bytearray())
        with contextlib.suppress(ConnectionError):
            answered = False
            while piece := await reader.read(65536):
                sent[-1] += piece
                if not answered and _whole(sent[-1]):
                    answered = True
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], sent
    server.close()


def _whole(sent: bytearray) -> bool:
    head, end, body = bytes(sent).partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    return bool(end) and len(body) >= length


@pytest.fixture
async def asked(engine, make_driver, make_hands):
    """Give a function that sends bytes to llmux, and returns what the engine was sent: heads' lines and bodies."""
    port, sent = engine
    hands = make_hands(url=URL(f"http://127.0.0.1:{port}"))
    runner = web.AppRunner(
        _app.build(make_driver({"m": hands}), largest_body=100_000), handler_cancellation=True
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    ours = runner.addresses[0][1]

    async def ask(request: bytes) -> tuple[bytes, list[tuple[list[bytes], bytes]]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", ours)
        async with asyncio.timeout(30):
            writer.write(request)
            answer = await reader.read()
        writer.close()
        parted = [bytes(each).partition(b"\r\n\r\n") for each in sent]
        return answer, [(head.split(b"\r\n"), body) for head, _, body in parted]

    yield ask
    await runner.cleanup()


def post(body: bytes, *headers: bytes, target: bytes = b"/v1/x") -> bytes:
    lines = [b"POST " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CHUNKED = (
    b"5\r\n"
    + CHAT[:5]
    + b"\r\n%x;name=value\r\n" % len(CHAT[5:])
    + CHAT[5:]
    + b"\r\n0\r\nX-Trailer: y\r\n\r\n"
)
PACKED = gzip.compress(CHAT)


@pytest.mark.parametrize(
    "request_",
    [
        post(CHAT, b"Content-Length: 14"),
        post(CHUNKED, b"Transfer-Encoding: chunked", b"Trailer: X-Trailer", b"TE: trailers"),
        post(CHAT, b"Content-Length: 14", b"Connection: X-Secret, Content-Length", b"X-Secret: y"),
        post(
            CHAT,
            b"Content-Length: 14",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABkAAQAAP__",
            b"Keep-Alive: timeout=9",
        ),
        post(PACKED, b"Content-Length: %d" % len(PACKED), b"Content-Encoding: gzip"),
        post(
            CHAT, b"Content-Length: 14", b"X-Forwarded-For: \xff", b"X-Empty:", b"X-Twice: 1", b"X-Twice: 2"
        ),
    ],
    ids=["length", "chunked", "named by Connection", "upgrade", "packed", "odd values"],
)
async def test_it_is_one_request_with_one_length(asked, request_):
    answer, ((head, body),) = await asked(request_)
    assert answer.startswith(b"HTTP/1.1 200")
    assert head[0] == b"POST /v1/x HTTP/1.1"
    names = [line.partition(b":")[0].lower() for line in head[1:]]
    lengths = [line for line in head if line.lower().startswith(b"content-length:")]
    assert (body, lengths) == (CHAT, [b"Content-Length: 14"])
    assert names.count(b"host") == 1
    gone = {
        b"transfer-encoding",
        b"te",
        b"trailer",
        b"upgrade",
        b"keep-alive",
        b"x-secret",
        b"content-encoding",
    }
    assert not gone & set(names)


@pytest.mark.parametrize(
    "target", [b"/v1/x%0dX-Evil:%20y", b"/v1/x?a=%0d%0a%0d%0aGET%20/sleep", b"/v1/x%00y"]
)
async def test_bytes_that_end_a_line_stay_escaped(asked, target):
    _, ((head, body),) = await asked(post(CHAT, b"Content-Length: 14", target=target))
    assert head[0] == b"POST " + target + b" HTTP/1.1"
    assert not [line for line in head[1:] if line.lower().startswith(b"x-evil")]
    assert body == CHAT


async def test_a_path_of_several_lines_is_nowhere(asked):
    answer, sent = await asked(post(CHAT, b"Content-Length: 14", target=b"/v1/x%0d%0aX-Evil:%20y"))
    assert answer.startswith(b"HTTP/1.1 404")
    assert not sent


@pytest.mark.parametrize("target", [b"/v1/x\x01y", b"/v1/x y", b"/v1/x\x7f", b"/v1/\x0bx"])
async def test_bare_control_bytes_in_a_target_reach_no_engine_as_they_are(asked, target):
    _, sent = await asked(post(CHAT, b"Content-Length: 14", target=target))
    for head, _ in sent:
        assert len(head[0].split(b" ")) == 3
        assert not set(range(33)) & set(head[0].split(b" ")[1])


async def test_a_body_that_holds_a_request_stays_a_body(asked):
    body = json.dumps({"model": "m", "prompt": SMUGGLED.decode()}).encode()
    _, ((_, got),) = await asked(post(body, b"Content-Length: %d" % len(body)))
    assert got == body


async def test_a_folded_header_is_not_sent_on_as_two_lines(asked):
    answer, sent = await asked(post(CHAT, b"X-Folded: a\r\n b", b"Content-Length: 14"))
    assert answer.split()[1] in {b"200", b"400"}
    for head, _ in sent:
        assert not [line for line in head if line[:1] in b" \t"]


async def test_a_body_that_unpacks_to_more_than_may_come_is_a_413(asked):
    bomb = gzip.compress(bytes(10_000_000))
    answer, sent = await asked(post(bomb, b"Content-Length: %d" % len(bomb), b"Content-Encoding: gzip"))
    assert answer.split()[1] in {b"400", b"413"}
    assert not sent


async def test_who_asks_first_whether_to_send_a_body_is_told(asked):
    answer, ((head, body),) = await asked(post(CHAT, b"Content-Length: 14", b"Expect: 100-continue"))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
    assert body == CHAT
    assert not [line for line in head if line.lower().startswith(b"expect")]


async def test_an_older_client_is_answered_and_hung_up_on(asked):
    request = post(CHAT, b"Content-Length: 14").replace(b"HTTP/1.1", b"HTTP/1.0")
    answer, ((head, _),) = await asked(request)
    assert answer.split()[1] == b"200"
    assert head[0].endswith(b"HTTP/1.1")
