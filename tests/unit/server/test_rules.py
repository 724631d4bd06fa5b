"""The rules of a model: which sleep is deeper, when a ladder goes down, how long a failed engine waits."""

from __future__ import annotations

import pytest

from llmux.server._model import Eviction, Process, Weights
from llmux.server._rules import Restart, Rules, Rung, Sizes

WARM = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
WARM_ON_DISK = Eviction(Weights.OFFLOAD, Process.CHECKPOINT)
DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
STOP = Eviction(Weights.DISCARD, Process.STOP)
LADDER = Rules(eviction=WARM, rungs=(Rung(WARM, 0.0), Rung(WARM_ON_DISK, 60.0), Rung(STOP, 3600.0)))


def test_a_ladder_goes_down_rung_by_rung_and_counts_from_falling_asleep():
    assert LADDER.deeper(WARM) == WARM_ON_DISK
    assert LADDER.deepen_at(WARM, 10.0) == 70.0
    assert LADDER.deeper(WARM_ON_DISK) == STOP
    assert LADDER.deepen_at(WARM_ON_DISK, 10.0) == 3610.0
    assert LADDER.deeper(STOP) is None
    assert LADDER.deepen_at(STOP, 10.0) is None


def test_without_times_a_sleep_deepens_only_where_its_room_is_wanted():
    rules = Rules()
    assert rules.deeper(DISK) == STOP
    assert rules.deepen_at(DISK, 10.0) is None


def test_a_lighter_sleep_by_hand_deepens_to_the_configured_one_with_its_own_weights():
    rules = Rules()
    assert rules.deeper(WARM) == WARM_ON_DISK
    assert rules.deepen_at(WARM, 10.0) is None


def test_a_ladder_may_leave_the_disk_out():
    rules = Rules(eviction=WARM, rungs=(Rung(WARM, 0.0), Rung(STOP, 60.0)))
    assert rules.deeper(WARM) == STOP


@pytest.mark.parametrize(("failures", "pause"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (9, 60), (5000, 60)])
def test_the_pause_before_a_restart_doubles_up_to_its_bound(failures, pause):
    assert Restart(backoff=1, backoff_max=60).pause(failures) == pause


def test_what_is_not_known_of_a_sleep_is_nothing():
    sizes = Sizes({"host_memory": 5}, {Process.CHECKPOINT: {"disk": 3}})
    assert sizes.when(DISK) == {"disk": 3}
    assert sizes.when(STOP) == {}
