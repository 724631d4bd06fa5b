"""Which sleep is deeper, and what a deeper one keeps."""

from __future__ import annotations

from llmux.server._depth import DEPTH, deepened, deeper_than
from llmux.server._model import Eviction, Process, Weights

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
