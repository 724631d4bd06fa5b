import json
import math

import pytest

from llmux.server.scheduling.measured import Measured, from_data


def test_the_first_measurement_is_the_mean_and_later_ones_move_it():
    once = Measured().seen("a/0", "wake", 10)
    assert once.of("a/0", "wake", 99).mean == 10
    twice = once.seen("a/0", "wake", 20)
    assert once.of("a/0", "wake", 99).mean < twice.of("a/0", "wake", 99).mean < 20
    assert twice.of("a/0", "wake", 99).samples == 2


def test_replicas_and_kinds_of_move_are_apart_and_what_was_never_measured_is_what_is_said():
    measured = Measured().seen("a/0", "wake", 10)
    assert measured.of("a/0", "sleep", 3).mean == 3
    assert measured.of("b/0", "wake", 4).cautious == 4


def test_a_cautious_estimate_is_above_what_is_usual_and_comes_nearer_as_it_proves_right():
    measured = Measured().seen("a", "wake", 10)
    assert measured.of("a", "wake", 0).cautious == 15
    for _ in range(50):
        measured = measured.seen("a", "wake", 10)
    assert math.isclose(measured.of("a", "wake", 0).cautious, 10, abs_tol=0.01)


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf])
def test_what_is_no_duration_is_not_measured(seconds):
    assert Measured().seen("a", "wake", seconds) == Measured()


def test_as_data_and_back():
    measured = Measured().seen("a", "wake", 10).seen("a", "sleep", 1).seen("b", "wake", 5)
    assert from_data(json.loads(json.dumps(measured.as_data()))) == measured
    assert from_data(measured.only(frozenset({"b"})).as_data()) == Measured().seen("b", "wake", 5)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ([], "the file"),
        ({}, "version"),
        ({"version": 1}, "moves"),
        ({"version": 1, "moves": {"a": 3}}, "moves.a"),
        (
            {"version": 1, "moves": {"a": {"wake": {"mean": -1, "deviation": 0, "samples": 1}}}},
            "moves.a.wake.mean",
        ),
        (
            {"version": 1, "moves": {"a": {"wake": {"mean": 1, "deviation": True, "samples": 1}}}},
            "moves.a.wake.dev",
        ),
    ],
)
def test_data_that_is_none_says_where(data, where):
    with pytest.raises(ValueError, match=where):
        from_data(data)
