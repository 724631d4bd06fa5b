"""Requests around a sleep: streams before and after, and one that is being answered when the sleep is asked for."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from proof.bench import MODEL, Bench, Settings
from proof.story import check_restored, put_to_sleep, wake_and_check

pytestmark = pytest.mark.docker

SETTINGS = Settings()
LONG = 2000
"""Tokens: enough for a sleep to be asked for while they come."""


def test_streams_before_and_after(desk: Bench) -> None:
    with desk.node("a", SETTINGS) as a:
        before = list(a.llmux.stream(MODEL))
        sleeper = put_to_sleep(a)
    with desk.node("b", SETTINGS) as b:
        after = list(b.llmux.stream(MODEL))
        check_restored(b, sleeper)
    assert len(before) > 1
    assert after == before
    assert "".join(after) == sleeper.answer


def test_a_request_in_flight_finishes_before_the_sleep(desk: Bench) -> None:
    with desk.node("a", SETTINGS) as a, ThreadPoolExecutor(1) as threads:
        whole = "".join(a.llmux.stream(MODEL, max_tokens=LONG))
        pieces = a.llmux.stream(MODEL, max_tokens=LONG)
        first = next(pieces)
        asked = threads.submit(a.llmux.sleep, MODEL)
        until = time.monotonic() + 10
        while a.llmux.status(MODEL)["state"] == "running" and time.monotonic() < until:
            time.sleep(0.01)
        assert a.llmux.status(MODEL)["state"] == "draining", "the answer was too short to be interrupted"
        assert first + "".join(pieces) == whole
        assert asked.result()["state"] == "asleep"
        assert a.llmux.status(MODEL)["state"] == "asleep"
    with desk.node("b", SETTINGS) as b:
        assert "".join(b.llmux.stream(MODEL, max_tokens=LONG)) == whole
        sleeper_status = b.llmux.status(MODEL)
        assert sleeper_status["last_wake"]["kind"] == "restored"


def test_a_request_that_comes_during_the_sleep_is_answered_after_a_wake(desk: Bench) -> None:
    with desk.node("a", SETTINGS) as a, ThreadPoolExecutor(1) as threads:
        sleeper = put_to_sleep(a)
        wake_and_check(a, sleeper)
        asked = threads.submit(a.llmux.sleep, MODEL)
        until = time.monotonic() + 10
        while a.llmux.status(MODEL)["state"] == "running" and time.monotonic() < until:
            time.sleep(0.005)
        assert a.llmux.chat(MODEL) == sleeper.answer
        asked.result()
        check_restored(a, sleeper)
