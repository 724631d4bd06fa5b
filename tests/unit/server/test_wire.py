"""Requests to an engine over kept connections, before real sockets."""

from __future__ import annotations

import asyncio
import errno
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from llmux.server._wire import Wire, in_words

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=x\r\nContent-Length: 2\r\n\r\nok"


class Engine:
    """Answers each request on a connection with the next of `answers`; counts connections, and sees them end."""

    def __init__(self) -> None:
        self.answers = [OK]
        self.connections = 0
        self.heads = []
        self.writers = []
        self.ended = asyncio.Event()

    async def serve(self, reader, writer):
        self.connections += 1
        self.writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head)
                length = next(
                    (int(line[15:]) for line in head.splitlines() if line.startswith(b"Content-Length:")), 0
                )
                await reader.readexactly(length)
                writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        except asyncio.IncompleteReadError:
            self.ended.set()
        writer.close()


@pytest.fixture
async def engine():
    return Engine()


@pytest.fixture
async def wire(engine):
    """Give a wire to the engine; it is closed in the end."""
    async with opened(engine, 5.0) as wire:
        yield wire


@asynccontextmanager
async def opened(engine, keep):
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server, aiohttp.ClientSession() as session:
        wire = Wire(url, session, keep)
        yield wire
        await wire.close()


async def asked(wire, method="POST", body=b"{}"):
    async with wire.ask(method, "/v1/x?y=%2F", CIMultiDict({"X-Mine": "1"}), body) as answer:
        return answer, await answer.content.read()


async def test_an_answer_is_as_it_was_sent(engine, wire):
    answer, body = await asked(wire)
    assert (answer.status, answer.reason, answer.content_type, body) == (200, "OK", "text/plain", b"ok")
    assert engine.heads[0].splitlines()[0] == b"POST /v1/x?y=%2F HTTP/1.1"
    assert {b"X-Mine: 1", b"Content-Length: 2"} < set(engine.heads[0].splitlines())


async def test_a_header_goes_as_it_came_and_holds_no_other(engine, wire):
    async with wire.ask("GET", "/", CIMultiDict({"X-Mine": "caf\udce9"}), b""):
        pass
    assert b"X-Mine: caf\xe9" in engine.heads[0].splitlines()
    for value in ("a\r\nX-Other: b", "a\nX-Other: b", "a\0"):
        with pytest.raises(ValueError, match="a line break or NUL in the head of GET"):
            async with wire.ask("GET", "/", CIMultiDict({"X-Mine": value}), b""):
                pass
    assert len(engine.heads) == 1


async def test_a_connection_serves_one_request_after_another(engine, wire):
    for _ in range(3):
        await asked(wire)
    assert engine.connections == 1


@pytest.mark.parametrize("stray", [b"HTTP/1.1 200 OK\r\nX-Stray: ", OK, b"\r\n", b"what?"])
async def test_what_comes_unasked_is_no_part_of_the_next_answer(engine, wire, stray):
    await asked(wire)
    engine.writers[0].write(stray)
    engine.answers = [OK.replace(b"200 OK", b"400 Bad")]
    await asyncio.sleep(0.1)
    answer, _ = await asked(wire)
    assert (answer.status, "X-Stray" in answer.headers) == (400, False)
    assert engine.connections == 2


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Stray: y\r\n\r\n",
        OK + b"HTTP/1.1 200 OK\r\nX-Stray: ",
    ],
)
async def test_what_is_left_of_an_answer_is_no_part_of_the_next_one(engine, wire, first):
    engine.answers = [first, OK.replace(b"200 OK", b"400 Bad")]
    assert (await asked(wire))[1] == b"ok"
    answer, _ = await asked(wire)
    assert (answer.status, "X-Stray" in answer.headers) == (400, False)


async def test_requests_at_a_time_have_a_connection_each(engine, wire):
    async with wire.ask("GET", "/", CIMultiDict(), b"") as answer:
        await asked(wire)
        assert await answer.content.read() == b"ok"
    assert engine.connections == 2


async def test_it_is_closed_where_the_engine_keeps_none(engine):
    async with opened(engine, 0.0) as wire:
        await asked(wire)
        await engine.ended.wait()
    assert b"Connection: close" in engine.heads[0].splitlines()


async def test_it_is_kept_for_a_while_only(engine):
    async with opened(engine, 0.05) as wire:
        await asked(wire)
        async with asyncio.timeout(30):
            await engine.ended.wait()
        await asked(wire)
    assert engine.connections == 2


async def test_whoever_leaves_before_the_end_closes_it(engine, wire):
    engine.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok"]
    async with wire.ask("POST", "/", CIMultiDict(), b"") as answer:
        assert await answer.content.readany() == b"ok"
    async with asyncio.timeout(30):
        await engine.ended.wait()


async def test_none_is_left_open_when_it_is_closed(engine, wire):
    await asked(wire)
    await wire.close()
    async with asyncio.timeout(30):
        await engine.ended.wait()


async def test_interim_answers_are_passed_over(engine, wire):
    engine.answers = [b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK]
    assert (await asked(wire))[1] == b"ok"


@pytest.mark.parametrize(
    ("method", "head"),
    [("HEAD", b"200 OK\r\nContent-Length: 5"), ("POST", b"204 No Content"), ("POST", b"304 Not Modified")],
)
async def test_whose_answer_has_no_body_leaves_nothing_to_the_next_one(engine, wire, method, head):
    engine.answers = [b"HTTP/1.1 " + head + b"\r\n\r\n", OK]
    assert (await asked(wire, method, b""))[1] == b""
    assert (await asked(wire))[1] == b"ok"
    assert engine.connections == 2


async def test_who_answers_in_another_protocol_is_not_waited_for(engine, wire):
    engine.answers = [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"]
    with pytest.raises(aiohttp.ClientError, match="another protocol"):
        await asyncio.wait_for(asked(wire), 30)


async def test_what_is_in_use_as_it_is_closed_is_not_kept_after_that(engine, wire):
    async with wire.ask("GET", "/", CIMultiDict(), b"") as answer:
        assert await answer.content.read() == b"ok"
        await wire.close()
    async with asyncio.timeout(30):
        await engine.ended.wait()


async def test_what_is_no_answer_is_an_error_of_the_engines(engine, wire):
    engine.answers = [b"220 smtp ready\r\n\r\n"]
    with pytest.raises(aiohttp.ClientError, match="no HTTP"):
        await asked(wire)


async def test_whoever_is_cancelled_before_the_answer_closes_it(engine, wire):
    engine.answers = [b""]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asked(wire), 0.2)
    async with asyncio.timeout(30):
        await engine.ended.wait()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            aiohttp.ClientOSError(errno.ECONNREFUSED, "10.0.0.7:8000: Connection refused"),
            "it cannot be reached",
        ),
        (aiohttp.ConnectionTimeoutError("no connection to 10.0.0.7:8000 in 10 s"), "it cannot be reached"),
        (TimeoutError(), "it cannot be reached"),
        (aiohttp.ClientOSError(errno.ECONNRESET, "Connection reset by peer"), "it closed the connection"),
        (aiohttp.ServerDisconnectedError(), "it closed the connection"),
        (aiohttp.ClientPayloadError("b'10.0.0.7'"), "its answer is cut off, or no HTTP"),
    ],
)
def test_clients_are_not_told_where_an_engine_is_nor_what_it_has_sent(error, words):
    assert in_words(error) == words


async def test_where_nobody_listens_that_is_an_error_that_names_the_place():
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientOSError, match=r"127\.0\.0\.1:1: "):
            await asked(Wire(URL("http://127.0.0.1:1"), session, 1.0))


async def test_a_large_body_whose_answer_comes_early_is_answered(serve):
    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=413, text="too long")

    app = web.Application()
    app.router.add_post("/v1/x", refuse)
    url = await serve(app)
    async with aiohttp.ClientSession() as session:
        answer, body = await asked(Wire(url, session, 1.0), body=bytes(32 << 20))
    assert (answer.status, body) == (413, b"too long")
