"""Requests around a sleep: streams before and after, and one that is being answered when the sleep is asked for."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from proof.bench import MODEL, Bench, Model, Node, Settings
from proof.story import check_restored, put_to_sleep, remember

pytestmark = pytest.mark.docker

SETTINGS = Settings()
SLOW = Settings(models=(Model(fields={"extra_args": ["--token-delay", "0.02"]}),))
LONG = 100
"""Tokens: with SLOW, two seconds in which a sleep is asked for."""


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
    with desk.node("a", SLOW) as a, ThreadPoolExecutor(1) as threads:
        sleeper = remember(a)
        whole = "".join(a.llmux.stream(MODEL, max_tokens=LONG))
        pieces = a.llmux.stream(MODEL, max_tokens=LONG)
        first = next(pieces)
        asked = threads.submit(a.llmux.sleep, MODEL)
        assert leaves(a, "running") == "draining"
        assert first + "".join(pieces) == whole
        assert asked.result()["checkpoint"]
        assert a.llmux.status(MODEL)["state"] == "asleep"
    with desk.node("b", SLOW) as b:
        assert "".join(b.llmux.stream(MODEL, max_tokens=LONG)) == whole
        check_restored(b, sleeper)


def test_a_request_that_comes_during_the_sleep_is_answered_after_a_wake(desk: Bench) -> None:
    with desk.node("a", SETTINGS) as a, ThreadPoolExecutor(1) as threads:
        sleeper = remember(a)
        asked = threads.submit(a.llmux.sleep, MODEL)
        assert leaves(a, "running") == "going_to_sleep"
        assert a.llmux.chat(MODEL) == sleeper.answer
        assert asked.result()["checkpoint"]
        check_restored(a, sleeper)


def leaves(node: Node, state: str) -> str:
    """Wait until the model leaves a state, and return the one that it has come to."""
    until = time.monotonic() + 10
    while (now := node.llmux.status(MODEL)["state"]) == state and time.monotonic() < until:
        time.sleep(0.005)
    return str(now)
