"""A thousand streams at a time through a real llmux before two real tiny engines: each whole, its own, and answered once."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import subprocess  # noqa: TID251 - llmux as its users start it
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from ports import free_port

from llmux.tiny_engine._train import CORPUS, train
from storms.client import CHAT, Book, Client
from storms.judge import AGAIN, Kind

pytestmark = pytest.mark.root

STREAMS = 1000
MODELS = ("lighthouse", "harbour")
TOKENS = 16
NEVER, SLOWLY = 3600.0, 10.0
"""Seconds for a token: no answer begins; every answer has begun long before the first is over."""


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) << 10


@pytest.fixture
def as_many_files_as_may_be() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def llmux(tmp_path) -> Iterator[tuple[subprocess.Popen[bytes], str, dict[str, int]]]:
    """Give a llmux that was started with the soft limit that services have, its URL, and its engines' ports."""
    train(tmp_path / "model", [CORPUS.read_text()[:3000]], 0, epochs=1)
    port, ports = free_port(), {name: free_port() for name in MODELS}
    common = {
        "model_path": str(tmp_path / "model"),
        "engine": "tiny",
        "eviction": {"process": "stop"},
        "extra_args": ["--allow-faults"],
    }
    config = {
        "models": {name: {**common, "port": ports[name]} for name in MODELS},
        "checkpoint": {"images_dir": str(tmp_path / "images")},
        "log_dir": str(tmp_path / "log"),
        "state_dir": str(tmp_path / "state"),
        "host": "127.0.0.1",
        "port": port,
        "engines_at_exit": "stop",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    serve = [sys.executable, "-m", "llmux.server", "serve", "--config", str(tmp_path / "config.json")]
    argv = ["sh", "-c", 'ulimit -Sn 1024; exec "$@"', "sh", *serve]
    with (tmp_path / "llmux.log").open("w") as log, subprocess.Popen(argv, stderr=log) as process:
        try:
            yield process, f"http://127.0.0.1:{port}", ports
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def counting(begun: list[str]) -> aiohttp.TraceConfig:
    """Note each answer whose head has come."""

    async def note(_session: object, _context: SimpleNamespace, end: aiohttp.TraceRequestEndParams) -> None:
        begun.append(end.url.path)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(note)
    return trace


async def running(session: aiohttp.ClientSession, ports: Mapping[str, int]) -> int:
    """Return how many requests the engines have, as they say themselves."""
    count = 0
    for port in ports.values():
        async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        count += next(int(each.split()[-1]) for each in lines if each.startswith("vllm:num_requests_running"))
    return count


async def listens(url: str, session: aiohttp.ClientSession) -> None:
    while True:
        try:
            async with session.get(f"{url}/health"):
                return
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0.05)


@pytest.mark.timeout(600)
async def test_a_thousand_streams_at_a_time_are_each_answered_whole(llmux, as_many_files_as_may_be, capsys):
    process, url, ports = llmux
    begun: list[str] = []
    book, limits = Book(), aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(
        connector=connector, timeout=limits, trace_configs=[counting(begun)]
    ) as session:
        client = Client(session, url, book)
        await listens(url, session)
        for name in MODELS:
            await client.answered(name)
            await client.fault(ports[name], "slow", NEVER)
        before, book.sent = resident(process.pid), 0
        book.records.clear()
        begun.clear()
        asking = asyncio.gather(
            *(client.ask(MODELS[number % 2], stream=True, tokens=TOKENS) for number in range(STREAMS))
        )
        while await running(session, ports) < STREAMS:
            assert not book.records, book.records[0]
        for name in MODELS:
            await client.fault(ports[name], "slow", SLOWLY)
        while begun.count(CHAT) < STREAMS:  # noqa: ASYNC110 - what is awaited is elsewhere
            await asyncio.sleep(0.05)
        assert not book.records, "not all streams were there at the same time"
        at_once = resident(process.pid)
        for name in MODELS:
            await client.fault(ports[name], "slow", 0)
        records = await asking
    assert Counter((each.verdict.kind, each.verdict.code) for each in records) == {
        (Kind.ANSWERED, ""): STREAMS
    }, next(each for each in records if each.verdict.kind is not Kind.ANSWERED or each.verdict.code == AGAIN)
    assert book.lost == 0
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{STREAMS} streams at a time: {(at_once - before) / STREAMS / 1024:.1f} KiB of memory each"
        )
