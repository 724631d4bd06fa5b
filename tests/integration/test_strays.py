"""Whatever ends llmux, its engines end with it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from proof.bench import MODEL, UNDER_A_SHELL, Bench, Node, Settings
from proof.story import wake_and_check

pytestmark = pytest.mark.docker

SETTINGS = Settings(fields={"engines_linger": 0})
"""Engines end with llmux, however that ends; by default they would wait for the next one."""


def gone_within(node: Node, pids: set[int], seconds: float) -> bool:
    """Return whether none of these processes is left after so many seconds at the most."""
    until = time.monotonic() + seconds
    while pids & node.processes().keys():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture(params=["cold-started", "restored"])
def awake(request: pytest.FixtureRequest, desk: Bench, asleep_on) -> Iterator[Node]:
    """Run llmux under a shell, so that it can be killed and the container stays, with an engine in either way of life."""
    if request.param == "restored":
        sleeper = asleep_on(desk, SETTINGS)
    with desk.node("a", SETTINGS, command=UNDER_A_SHELL) as node:
        if request.param == "restored":
            wake_and_check(node, sleeper)
        else:
            node.llmux.chat(MODEL)
        yield node


def test_no_engine_outlives_llmux_killed_by_force(awake: Node) -> None:
    engine = awake.sandboxed()
    assert len(engine) >= 3
    awake.kill_llmux()
    assert gone_within(awake, set(engine), 5)


def test_no_process_of_an_engine_outlives_its_sleep(awake: Node) -> None:
    engine = awake.sandboxed()
    awake.llmux.sleep(MODEL)
    assert gone_within(awake, set(engine), 1)
    assert awake.sandboxed() == {}


def test_docker_stop_ends_quickly_with_an_engine_running(desk: Bench) -> None:
    with desk.node("a", SETTINGS) as a:
        a.llmux.chat(MODEL)
        assert a.container.stop() < 8
        assert a.container.exit_code == 0


def test_docker_stop_ends_quickly_with_a_restored_engine(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, SETTINGS)
    with desk.node("b", SETTINGS) as b:
        wake_and_check(b, sleeper)
        assert b.container.stop() < 8
        assert b.container.exit_code == 0
