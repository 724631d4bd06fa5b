"""What passing a stream's event on costs llmux and others, side by side: processor time for an event.

    make bench ROW=streams

Five streams at a time, each of 200 events, come through each front from an engine that sends an event, rests and sends the next, as models do; so
each event is a piece of its own for whoever passes it on. The front has one core for itself; the load and the engines have the other. All fronts are
asked in turn, several rounds; the medians count, as parts of a bare aiohttp proxy's. There is nothing that we promise here: the exit code is 0.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import subprocess  # noqa: TID251 - the fronts are programs of others
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import proxy

STREAMS, EVENTS, REST = 5, 200, 0.02
ROUNDS, SECONDS, WARM = 5, 5, 1
_DELTA = {"index": 0, "delta": {"content": " tower"}, "logprobs": None, "finish_reason": None}
EVENT = (
    b"data: "
    + json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [_DELTA],
        }
    ).encode()
    + b"\n\n"
)
_BODY = json.dumps({**proxy.CHAT, "stream": True}).encode()
_ASKING = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n"
    + b"Content-Length: %d\r\n\r\n" % len(_BODY)
    + _BODY
)


async def serve(port: int) -> None:
    """Be the engine: answer each chat by a stream, and everything else by an empty object."""
    server = await asyncio.start_server(_answer, "127.0.0.1", port)
    await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1])) if length else b""
        except (asyncio.IncompleteReadError, ConnectionError):
            break
        if body and json.loads(body).get("stream"):
            await _stream(writer)
        else:
            answer = json.dumps(proxy.ANSWER).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(answer), answer)
            )
    writer.close()


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(EVENTS):
        if writer.is_closing():
            return
        writer.write(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
        await asyncio.sleep(REST)
    writer.write(b"0\r\n\r\n")


class _Client(asyncio.Protocol):
    """Asks for one stream after another, and counts events."""

    events = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_ASKING)

    def data_received(self, data: bytes) -> None:
        _Client.events += data.count(b"data: ")
        if data.endswith(b"\r\n0\r\n\r\n"):
            self._transport.write(_ASKING)


async def ask(port: int) -> None:
    """Be the load: print how many events have come in so many seconds, once all streams are under way."""
    loop = asyncio.get_running_loop()
    for _ in range(STREAMS):
        await loop.create_connection(_Client, "127.0.0.1", port)
    await asyncio.sleep(WARM)
    before = _Client.events
    await asyncio.sleep(SECONDS)
    proxy.say(str(_Client.events - before))


def load(front: proxy.Front, pid: int) -> float:
    """Return the microseconds of processor time that an event takes `front`, whose process is `pid`. Raises ValueError where none comes."""
    argv = ["taskset", "--cpu-list", "1", sys.executable, __file__, "ask", str(front.port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as asking:
        time.sleep(WARM)  # its start is not exactly known, and both ends of the time are cut off alike
        before = _processor_seconds(pid)
        told, _ = asking.communicate()
        spent = _processor_seconds(pid) - before
    if not int(told):
        raise ValueError(f"{front.name} passes no event on")
    return spent / int(told) * 1e6


def _processor_seconds(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in tasks) / 1e9


def engine(port: int) -> list[str]:
    """Return what runs the engine."""
    return ["taskset", "--cpu-list", "1", sys.executable, __file__, "serve", str(port)]


def main() -> int:
    """Compare, and print the table."""
    proxy.need_programs()
    with tempfile.TemporaryDirectory(prefix="llmux-streams-") as name, ExitStack() as stack:
        directory = Path(name)
        measured = [
            each for each in proxy.fronts(directory, engine(proxy.ENGINE)) if each.port != proxy.NGINX
        ]
        pids = {}
        for front in sorted(
            measured, key=lambda each: each.port != proxy.LLMUX
        ):  # it starts the engine of all
            pids[front.name] = stack.enter_context(proxy.running(front, directory))
            load(front, pids[front.name])
        costs: dict[str, list[float]] = {front.name: [] for front in measured}
        for _ in range(ROUNDS):
            for front in measured:
                costs[front.name].append(load(front, pids[front.name]))
    bare = statistics.median(costs["bare aiohttp"])
    proxy.say(f"{'':20} {'for an event, of bare aiohttp':>30}")
    for name, each in costs.items():
        proxy.say(f"{name:20} {statistics.median(each) / bare:30.2f}")
    return 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", port]:
            asyncio.run(serve(int(port)))
        case ["ask", port]:
            asyncio.run(ask(int(port)))
        case _:
            proxy.set_environment()
            sys.exit(main())
