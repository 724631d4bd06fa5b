"""What is told of many requests, from what came of each."""

from __future__ import annotations

import pytest

from llmux.server.bench.figures import Asked, Spread, figures, spread


def test_a_spread_is_by_nearest_rank():
    assert spread(map(float, range(1, 101))) == Spread(100, 50.5, 50.0, 95.0, 99.0, 100.0)
    assert spread([0.5, None]) == Spread(1, 0.5, 0.5, 0.5, 0.5, 0.5)
    assert spread([None]) is None


def test_answers_errors_and_rates_are_over_the_time_from_the_first_to_the_last():
    told = figures(
        [
            Asked("m", 10.0, 1.0, first_token=0.5, tokens=11, queued=0.25, wake="cold"),
            Asked("m", 10.5, 1.5, first_token=0.5, tokens=21, queued=0.0, wake="warm"),
            Asked("m", 13.0, 1.0, problem="no_room", message="none"),
            Asked("m", 13.0, 0.5, problem="no_room", message="none still"),
        ]
    )
    assert (told.requests, told.answers, told.errors) == (4, 2, {"no_room": 2})
    assert told.messages == {"no_room": "none"}
    assert (told.seconds, told.answers_per_second) == (4.0, 0.5)
    assert (told.tokens, told.tokens_per_second) == (32, 8.0)
    assert told.wakes == {"cold": 1, "warm": 1}
    assert told.queued.most == 0.25
    assert told.answer.p50 == 1.0
    assert (told.pace.p50, told.pace.most) == (20.0, 20.0)


def test_what_nobody_tells_is_not_known():
    told = figures([Asked("m", 0.0, 1.0)])
    assert (told.answers, told.first_token, told.queued, told.tokens, told.tokens_per_second) == (
        *(1, None, None, None, None),
    )
    assert (told.pace, told.wakes) == (None, {})


@pytest.mark.parametrize("asked", [[], [Asked("m", 1.0, 0.0, problem="x")]])
def test_without_answers_there_are_no_figures_of_them(asked):
    told = figures(asked)
    assert (told.answers, told.answers_per_second, told.first_token, told.answer) == (0, 0.0, None, None)
