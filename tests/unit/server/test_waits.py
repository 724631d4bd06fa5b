"""Waits for a turn, told once each, however often they are looked at."""

from __future__ import annotations

import pytest

from llmux.server._waits import Waits, in_words
from llmux.server.scheduling.snapshot import Rule, Wait

ONE = Wait("b", "a", Rule.MIN_AWAKE, 105.0)


def test_a_wait_is_told_once_as_long_as_it_lasts():
    waits = Waits()
    assert waits.news([ONE], {"b"}, 100.0, "fair") == [
        "b: waits for a, which is kept awake by its min_awake for 5.0 s more"
    ]
    assert waits.news([ONE], {"b"}, 101.0, "fair") == []
    assert waits.news([], {"b"}, 102.0, "fair") == []
    assert waits.news([ONE], {"b"}, 103.0, "fair") == []


def test_the_next_wait_of_the_same_model_is_told_again():
    waits = Waits()
    waits.news([ONE], {"b"}, 100.0, "fair")
    assert waits.news([], set(), 101.0, "fair") == []
    assert len(waits.news([ONE], {"b"}, 102.0, "fair")) == 1


def test_another_rule_and_somebody_else_in_the_way_are_told_too():
    waits = Waits()
    turn, other = Wait("b", "a", Rule.TURN, 109.0), Wait("b", "c", Rule.MIN_AWAKE, 104.0)
    assert [len(waits.news([each], {"b"}, 100.0, "fair")) for each in (ONE, turn, ONE, other, turn)] == [
        1,
        1,
        0,
        1,
        0,
    ]


def test_what_is_over_at_once_is_not_worth_a_line():
    waits = Waits()
    assert waits.news([ONE], {"b"}, 104.95, "fair") == []


@pytest.mark.parametrize("rule", Rule)
def test_each_rule_has_its_words(rule):
    told = in_words(Wait("b", "a", rule, None), 100.0, "fair")
    assert told.startswith("b: waits for a, which ")
    assert not told.endswith("more")
