"""The wall clock may jump: durations and deadlines are of the monotonic one, and the wall clock is for people."""

from __future__ import annotations

import ast
import asyncio
import itertools
import time
from pathlib import Path

import pytest

from llmux.server import _app
from llmux.server._model import Asleep, Running, WakeKind

SERVER = Path(_app.__file__).parent
FOR_PEOPLE = {
    "_app.py": "when llmux started, in /v1/models",
    "_bus.py": "when something happened",
    "_checkpoints.py": "when a checkpoint was made",
    "_cli_status.py": "for how long a state has been, in the table",
    "_driver.py": "when a replica was last moved",
    "_gpus.py": "when GPUs were looked at, and an error of one was heard of",
    "_hooks.py": "when something happened, and when its telling was signed",
    "_logs.py": "when a request was over",
    "_jobs.py": "when an operation was begun",
    "_gate.py": "when a key expires, which people wrote",
    "_operations.py": "when a model woke",
    "_reload.py": "when the configuration was read",
    "_scheduler.py": "schedules, which people wrote",
    "_spans.py": "when a trace was: once for each, and its spans by the monotonic clock",
    "_told.py": "since when a state is",
    "_work.py": "when an engine was started",
}
"""Where the wall clock is read, and for what."""
WALL = {
    ("time", "time"),
    ("time", "time_ns"),
    ("datetime", "now"),
    ("datetime", "today"),
    ("datetime", "utcnow"),
}

soon = asyncio.ensure_future  # noqa: TID251 - a test's clients are tasks of its own


def reads_the_wall_clock(path: Path) -> bool:
    called = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return any(
        isinstance(func, ast.Attribute)
        and isinstance(func.value, ast.Name)
        and (func.value.id, func.attr) in WALL
        for func in called
    )


def test_the_wall_clock_is_read_for_people_only():
    assert {path.name for path in SERVER.rglob("*.py") if reads_the_wall_clock(path)} == set(FOR_PEOPLE)


@pytest.mark.parametrize("jump", [-86400.0, 86400.0, 3e8])
async def test_a_clock_that_jumps_at_each_look_confuses_nothing(make_driver, make_hands, monkeypatch, jump):
    start, jumps = time.time(), itertools.count()
    monkeypatch.setattr(time, "time", lambda: start + jump * next(jumps))
    driver = make_driver({"m": make_hands(drain_timeout=5.0)}, request_timeout=5.0)
    await driver.open()
    try:
        for _ in range(3):
            async with driver.admit("m") as admission:
                assert 0 <= admission.queued < 5
                sleeping = soon(driver.sleep("m"))
                await asyncio.sleep(0.05)
                assert not admission.cut.done()
                assert not sleeping.done()
            await sleeping
            replica = driver.models["m"].replicas[0]
            assert isinstance(replica.state, Asleep)
        await driver.wake("m")
        assert isinstance(replica.state, Running)
        assert replica.last_wake.kind is WakeKind.RESTORED
        assert 0 <= replica.last_wake.seconds < 5
        assert 0 <= time.monotonic() - replica.state.since < 5
    finally:
        await driver.close()


async def test_a_request_that_waits_through_a_jump_keeps_its_time(make_driver, make_hands, monkeypatch):
    gate, now = asyncio.Event(), time.time()
    driver = make_driver({"m": make_hands(gates={"cold_start": gate})}, request_timeout=30.0)
    await driver.open()

    async def asked():
        async with driver.admit("m") as admission:
            return admission.queued

    try:
        asking = soon(asked())
        await asyncio.sleep(0.02)
        monkeypatch.setattr(time, "time", lambda: now + 86400)
        await asyncio.sleep(0.02)
        assert not asking.done()
        gate.set()
        assert 0 < await asking < 30
    finally:
        await driver.close()
