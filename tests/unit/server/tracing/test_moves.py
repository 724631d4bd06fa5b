"""Wakes and sleeps as intervals, and those that a request has waited for."""

from __future__ import annotations

import pytest

from llmux.server._happenings import Entry, SleepDone, SleepFailed, StateChanged, WakeDone, WakeFailed
from llmux.server._model import Eviction, Process, WakeKind, Weights
from llmux.server.errors import Problem
from llmux.server.tracing._moves import KEPT, Move, Moves, Phase

DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
BROKEN = Problem("broken", "it is broken")


@pytest.fixture
def moves():
    return Moves()


def take(moves: Moves, at: float, happening) -> Move | None:
    return moves.take(Entry(1, 0.0, at, happening))


def woken(model="m", seconds=2.0, **more):
    return WakeDone(model=model, replica=model, wake=WakeKind.RESTORED, seconds=seconds, **more)


def asleep(model="n", seconds=3.0, **more):
    return SleepDone(model=model, replica=model, eviction=DISK, seconds=seconds, **more)


def drained(model="n", seconds=1.0):
    return StateChanged(
        model=model,
        replica=model,
        before="draining",
        after="going_to_sleep",
        cause="Drained",
        seconds=seconds,
    )


def test_a_wakes_phases_lie_in_it_and_what_has_no_place_is_an_amount(moves):
    move = take(
        moves,
        10.0,
        woken(
            phases={"restore": 1.0, "health": 5.0, "frozen": 0.5},
            phases_begun={"restore": 0.25, "health": 1.5},
        ),
    )
    assert (move.kind, move.how, move.began, move.ended) == ("wake", "restored", 8.0, 10.0)
    assert move.phases == (Phase("restore", 8.25, 9.25), Phase("health", 9.5, 10.0))
    assert move.amounts == {"frozen": 0.5}


def test_a_sleep_begins_with_its_drain(moves):
    assert take(moves, 5.0, drained()) is None
    move = take(moves, 8.0, asleep())
    assert (move.kind, move.how, move.began) == ("sleep", "checkpoint", 4.0)
    assert move.phases == (Phase("drain", 4.0, 5.0),)
    assert take(moves, 20.0, asleep()).phases == ()


def test_what_fails_says_how(moves):
    wake = WakeFailed(model="m", replica="m", wake=WakeKind.RESTORED, seconds=1.0, problem=BROKEN)
    sleep = SleepFailed(model="m", replica="m", eviction=DISK, seconds=1.0, problem=BROKEN)
    assert [take(moves, 5.0, each).problem for each in (wake, sleep)] == ["broken", "broken"]


def test_a_request_has_waited_for_its_wake_and_for_what_made_room_before(moves):
    take(moves, 1.0, asleep("before"))
    take(moves, 8.0, asleep("n"))
    take(moves, 9.0, woken("other", 0.5))
    take(moves, 10.0, woken("m", 2.0))
    take(moves, 11.0, asleep("after"))
    found = moves.waited_for("m", "m", 5.0, 12.0)
    assert [(each.kind, each.model) for each in found] == [("sleep", "n"), ("wake", "m")]
    assert [each.number for each in found] == [2, 4]


def test_one_that_a_serving_engine_took_has_waited_for_nothing_of_these(moves):
    take(moves, 8.0, asleep("n"))
    assert moves.waited_for("m", "m", 5.0, 12.0) == ()


def test_one_that_no_engine_took_has_seen_all_of_its_models_wakes(moves):
    take(moves, 8.0, asleep("n"))
    wake = WakeFailed(model="m", replica="m@2", wake=WakeKind.RESTORED, seconds=1.0, problem=BROKEN)
    take(moves, 10.0, wake)
    assert [each.kind for each in moves.waited_for("m", "", 5.0, 12.0)] == ["sleep", "wake"]


def test_the_latest_are_kept(moves):
    for _ in range(KEPT + 5):
        take(moves, 10.0, woken())
    assert len(moves.waited_for("m", "m", 5.0, 12.0)) == KEPT
