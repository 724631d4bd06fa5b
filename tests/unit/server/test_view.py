"""What a policy gets to see of the models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llmux.server._hands import Stored
from llmux.server._model import (
    Asleep,
    Deepening,
    Draining,
    Eviction,
    Failed,
    GoingToSleep,
    NotStarted,
    Process,
    Running,
    Starting,
    Waking,
    Weights,
)
from llmux.server._record import Model, Replica
from llmux.server._rules import Restart, Rules, Rung, Sizes
from llmux.server._takes import Takes
from llmux.server._view import SLEEP_AGAIN_AFTER, awake, given_up, next_change, view
from llmux.server.errors import Problem
from llmux.server.scheduling.account import Account
from llmux.server.scheduling.snapshot import Phase

WARM = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
DISK = Eviction(Weights.OFFLOAD, Process.CHECKPOINT)
STOP = Eviction(Weights.DISCARD, Process.STOP)
WHY = Problem("test", "it broke")
NOW = 100.0
SIZES = Sizes(
    {"awake": 1, "host_memory": 8},
    {Process.KEEP_RUNNING: {"host_memory": 4}, Process.CHECKPOINT: {"disk": 6}},
)
RULES = Rules(
    eviction=WARM,
    rungs=(Rung(WARM, 0.0), Rung(DISK, 30.0), Rung(STOP, None)),
    restart=Restart(limit=3, backoff=10),
)


def model(state, rules=RULES, **fields):
    replica = Replica("m", "m", None, state, SIZES)
    for name, value in fields.items():
        setattr(replica, name, value)
    return Model("m", rules, (replica,))


def seen(state, **fields):
    return view([model(state, **fields)], {}, Account(at=NOW), NOW).replicas[0]


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        (NotStarted(since=0), Phase.RESTING),
        (Starting(since=0, why="x"), Phase.RISING),
        (Running(since=0), Phase.AWAKE),
        (Draining(since=0, eviction=WARM), Phase.SINKING),
        (GoingToSleep(since=0, eviction=WARM), Phase.SINKING),
        (Asleep(since=0, eviction=WARM), Phase.RESTING),
        (Deepening(since=0, eviction=WARM, to=DISK), Phase.SINKING),
        (Waking(since=0, eviction=WARM), Phase.RISING),
        (Failed(since=NOW - 1, why=WHY, failures=2), Phase.DOWN),
        (Failed(since=NOW - 11, why=WHY, failures=2), Phase.RESTING),
        (Failed(since=0, why=WHY, failures=4), Phase.DOWN),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_state_is_a_phase(state, phase):
    assert seen(state).phase is phase


def test_what_a_replica_holds_depends_on_how_deep_it_sleeps():
    assert seen(NotStarted(since=0)).holds == {}
    assert seen(Waking(since=0, eviction=WARM)).holds == SIZES.awake
    assert seen(Asleep(since=0, eviction=WARM)).holds == {"host_memory": 4}
    assert seen(Asleep(since=0, eviction=DISK)).holds == {"disk": 6}
    assert seen(Asleep(since=0, eviction=STOP)).holds == {}
    assert seen(Failed(since=0, why=WHY)).holds == {}


def test_on_its_way_down_it_will_keep_what_its_new_rung_keeps():
    assert seen(Deepening(since=0, eviction=WARM, to=DISK)).keeps == {"disk": 6}
    assert seen(GoingToSleep(since=0, eviction=STOP)).keeps == {}
    assert seen(Running(since=0)).keeps == {"host_memory": 4}


def test_images_on_disk_outlast_a_wake():
    stored = Stored(Path("/images"), 9, 0.0, 1, DISK, 0.5)
    awake = seen(Running(since=0), stored=stored)
    assert awake.holds == awake.needs == {**SIZES.awake, "disk": 9}


def test_a_sleeper_has_a_rung_below_and_a_time_for_it():
    asleep = seen(Asleep(since=90.0, eviction=WARM), asleep_since=80.0)
    assert (asleep.deeper, asleep.deepen_at) == ({"disk": 6}, 110.0)
    bottom = seen(Asleep(since=90.0, eviction=STOP))
    assert (bottom.deeper, bottom.deepen_at) == (None, None)
    assert seen(Running(since=0)).deeper is None


def test_a_sleep_that_has_just_failed_is_not_asked_for_again_at_once():
    state = Running(since=NOW - 1, sleep_failed=WHY)
    assert seen(state).sleep_refused
    assert next_change([model(state)], NOW) == NOW - 1 + SLEEP_AGAIN_AFTER
    assert not seen(replace(state, since=NOW - SLEEP_AGAIN_AFTER)).sleep_refused


def test_time_alone_brings_a_failed_replica_back_until_it_is_given_up():
    failed = Failed(since=NOW - 1, why=WHY, failures=2)
    assert next_change([model(failed)], NOW) == NOW + 9
    assert next_change([model(replace(failed, failures=4))], NOW) is None
    assert given_up(replace(failed, failures=4), RULES.restart)
    assert not given_up(failed, RULES.restart)


def test_a_preloaded_model_is_wanted_unless_it_was_put_to_sleep_by_hand():
    preloaded = model(NotStarted(since=0), replace(RULES, preload=True))
    assert view([preloaded], {}, Account(at=NOW), NOW).demands["m"].wanted
    preloaded.at_rest_by_hand = True
    assert not view([preloaded], {}, Account(at=NOW), NOW).demands["m"].wanted


def test_what_a_wake_takes_depends_on_the_sleep_that_it_is_from():
    takes = Takes({each: float(number) for number, each in enumerate(Process)})
    assert seen(Asleep(since=0, eviction=DISK), takes=takes).costs.wake == takes.wake[Process.CHECKPOINT]
    assert seen(Running(since=0), takes=takes).costs.wake == takes.wake[Process.KEEP_RUNNING]
    assert seen(NotStarted(since=0), takes=takes).costs.wake == takes.wake[Process.STOP]


def test_a_model_is_awake_as_often_as_its_replicas_serve():
    assert awake([model(Running(since=0)), model(Asleep(since=0, eviction=DISK))]) == ("m",)
