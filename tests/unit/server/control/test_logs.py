"""Logs: their end, what follows, and how much llmux logs."""

from __future__ import annotations

import asyncio
import logging

import pytest

from llmux.server.control import _logs
from llmux.server.control._streaming import Feed

log = logging.getLogger("test")


@pytest.fixture
def own_level():
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    yield
    root.setLevel(before)


@pytest.fixture
async def engines_log(tmp_path):
    """Write the log of m's engine."""
    path = tmp_path / "m.log"
    await asyncio.to_thread(path.write_text, "".join(f"line {number}\n" for number in range(200)))
    return path


def append(path, text):
    with path.open("a") as file:
        file.write(text)


async def test_llmuxs_own_log_and_what_follows(house, own_level):
    log.info("the first")
    log.info("the second")
    told = await house.call("GET", "/control/logs?lines=1")
    assert told.headers["Content-Type"].startswith("text/plain")
    assert told.json.decode().endswith("the second\n")
    assert told.json.count(b"\n") == 1
    async with house.session.get("/control/logs?lines=0&follow=true") as response:
        await asyncio.sleep(0)
        log.info("the third")
        async with asyncio.timeout(30):
            assert (await response.content.readline()).endswith(b"the third\n")


async def test_an_engines_log_and_what_follows(configured, engines_log):
    assert (await configured.call("GET", "/control/logs/m")).json.count(b"\n") == 100
    told = await configured.call("GET", "/control/logs/m?lines=2")
    assert told.json == b"line 198\nline 199\n"
    async with configured.session.get("/control/logs/m?lines=1&follow=true") as response, asyncio.timeout(30):
        assert await response.content.readline() == b"line 199\n"
        await asyncio.to_thread(append, engines_log, "one more\n")
        assert await response.content.readline() == b"one more\n"


async def test_no_more_than_one_piece_waits_for_a_slow_reader(monkeypatch):
    monkeypatch.setattr(_logs, "LOOK_EVERY", 0.001)
    feed, pieces = Feed(), iter([b"one", b"two", b"three"])

    async def more():
        return next(pieces)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await _logs._follow(feed, more)
    assert next(pieces) == b"two"


async def test_a_log_that_is_not_there_is_a_404_that_says_why(configured, house, engines_log):
    for it, name in ((configured, "n"), (house, "m")):
        refused = await it.call("GET", f"/control/logs/{name}")
        assert (refused.status, refused.json["error"]["code"]) == (404, "log_not_found")
    assert (await configured.call("GET", "/control/logs/x")).json["error"]["code"] == "model_not_found"


async def test_the_level_is_changed_at_once(house, own_level):
    assert (await house.call("GET", "/control/log-level")).json == {"level": "info"}
    log.debug("not seen")
    assert (await house.call("PUT", "/control/log-level", {"level": "debug"})).json == {"level": "debug"}
    log.debug("seen")
    told = (await house.call("GET", "/control/logs?lines=1000")).json
    assert b"not seen" not in told
    assert b"seen" in told
    assert (await house.call("PUT", "/control/log-level", {"level": "loud"})).status == 400


@pytest.mark.parametrize("query", ["lines=-1", "lines=10001", "follow=yes", "tail=1"])
async def test_what_cannot_be_meant_is_refused(house, query):
    assert (await house.call("GET", f"/control/logs?{query}")).status == 400
