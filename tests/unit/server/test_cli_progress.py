"""How far long work is, as a terminal shows it; commands without one are tested where they are."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess  # noqa: TID251 - the command line is tested as a process
import sys
from contextlib import suppress

import pytest

from llmux.server import _app
from llmux.server._cli_progress import rest_of
from llmux.server._client_answers import Operation


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "3 s"),
        ({"percent": 12.4, "eta_seconds": 20.6}, "3 s, 12 %, about 21 s left"),
        ({"bytes": 1 << 30}, "3 s, 1 GiB"),
        ({"bytes": 1 << 30, "bytes_in_all": 2 << 30, "percent": 50.0}, "3 s, 1 GiB of 2 GiB, 50 %"),
    ],
)
def test_what_is_known_is_beside_the_bar(fields, shown):
    assert rest_of(Operation(id="x", status="under_way", phase="dump", seconds=3.2, **fields)) == shown


@pytest.fixture
def hands(make_hands):
    return make_hands()


@pytest.fixture
async def url(serve, make_driver, hands):
    return str(await serve(_app.build(make_driver({"m": hands}))))


class Terminal:
    """Runs a command whose standard error is a terminal."""

    def __init__(self, *argv, url):
        self._master, terminal = pty.openpty()
        command = [sys.executable, "-m", "llmux.server", *argv, "--host", url]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal)
        os.close(terminal)
        self.seen = b""

    async def until(self, text):
        while text not in self.seen:
            chunk = await asyncio.to_thread(self._read)
            assert chunk, self.seen
            self.seen += chunk

    def _read(self):
        with suppress(OSError):
            return os.read(self._master, 4096)
        return b""

    async def end(self):
        told, _ = await asyncio.to_thread(self._process.communicate)
        while chunk := await asyncio.to_thread(self._read):
            self.seen += chunk
        os.close(self._master)
        return self._process.returncode, told


async def test_each_phase_is_told_as_it_comes(url, hands):
    woken = await asyncio.to_thread(Terminal, "wake", "m", url=url)
    assert (await woken.end())[0] == 0
    quieten, dump = hands.gates["quieten"], hands.gates["dump"] = asyncio.Event(), asyncio.Event()
    terminal = await asyncio.to_thread(Terminal, "sleep", "m", url=url)
    await terminal.until(b"m: letting go of its weights")
    quieten.set()
    await terminal.until(b"m: being written to disk")
    await terminal.until(b"s left")
    dump.set()
    code, told = await terminal.end()
    assert code == 0
    assert told.startswith(b"m: asleep after ")


async def test_what_fails_says_why_as_it_does_without_a_terminal(url, hands):
    hands.broken.add("cold_start")
    gate = hands.gates["cold_start"] = asyncio.Event()
    terminal = await asyncio.to_thread(Terminal, "wake", "m", url=url)
    await terminal.until(b"m: starting")
    gate.set()
    code, told = await terminal.end()
    assert (code, told) == (1, b"")
    said = b" ".join(terminal.seen.split())
    assert b"llmux: " in said
    assert b"cold_start is broken" in said
