"""Which sleep is deeper, and what a deeper one keeps."""

from __future__ import annotations

import pytest

from llmux.server._depth import DEPTH, deep_enough, deepened, deeper_than
from llmux.server._model import (
    Asleep,
    Deepening,
    Draining,
    Eviction,
    GoingToSleep,
    NotStarted,
    Process,
    Running,
    Weights,
)

WARM = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
WARM_ON_DISK = Eviction(Weights.OFFLOAD, Process.CHECKPOINT)
DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
STOP = Eviction(Weights.DISCARD, Process.STOP)


def test_every_process_has_its_depth():
    assert set(DEPTH) == set(Process)


def test_a_process_decides_how_deep_a_sleep_is():
    assert deeper_than(DISK, WARM)
    assert deeper_than(STOP, DISK)
    assert not deeper_than(WARM, WARM_ON_DISK)
    assert not deeper_than(DISK, WARM_ON_DISK)


def test_a_stopped_engine_keeps_no_weights():
    offloaded = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
    assert deepened(offloaded, Process.STOP) == Eviction(Weights.DISCARD, Process.STOP)
    assert deepened(offloaded, Process.CHECKPOINT) == Eviction(Weights.OFFLOAD, Process.CHECKPOINT)


@pytest.mark.parametrize(
    "state",
    [
        Draining(since=0.0, eviction=WARM_ON_DISK),
        GoingToSleep(since=0.0, eviction=WARM_ON_DISK),
        Asleep(since=0.0, eviction=WARM_ON_DISK),
        Deepening(since=0.0, eviction=WARM, to=WARM_ON_DISK),
    ],
)
def test_a_sleep_that_there_is_does_where_it_is_no_shallower(state):
    assert [deep_enough(state, each) for each in (WARM, DISK, STOP)] == [WARM_ON_DISK, WARM_ON_DISK, STOP]


def test_one_that_does_not_sleep_is_to_sleep_as_deep_as_is_said():
    for state in (NotStarted(since=0.0), Running(since=0.0)):
        assert deep_enough(state, DISK) == DISK
