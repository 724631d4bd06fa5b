"""How answers before and after a sleep are compared."""

from __future__ import annotations

import pytest

from llmux.server._validation import Answer, Comparison, Round, Usual, fault, judge


def round_of(*answers):
    return Round(tuple(answers), 0.1)


ONE = Answer(("a", "b", "c"), (-1.0, -2.0, -3.0))


def test_the_same_answers_do_not_differ():
    assert judge(round_of(ONE, ONE), round_of(ONE, ONE)) == Comparison(6, 0, 0.0)


def test_a_token_that_is_another_or_missing_counts():
    assert judge(round_of(ONE), round_of(Answer(("a", "x")))).differing == 2
    assert judge(round_of(Answer(("a",))), round_of(ONE)).differing == 2


def test_the_largest_difference_of_a_log_probability_is_the_drift():
    moved = Answer(("a", "b", "c"), (-1.5, -2.0, -2.75))
    assert judge(round_of(ONE), round_of(moved)).drift == 0.5


def test_where_no_log_probabilities_are_told_there_is_no_drift():
    assert judge(round_of(Answer(("text",))), round_of(Answer(("text",)))) == Comparison(1, 0, None)


def usual(differing=0, drift=0.0, tolerance=0.0):
    return Usual(round_of(), Comparison(9, differing, drift), tolerance)


@pytest.mark.parametrize(
    ("found", "than", "said"),
    [
        (Comparison(9, 0, 0.0), usual(), ""),
        (Comparison(9, 0, None), usual(drift=None), ""),
        (Comparison(9, 1, 0.0), usual(), "1 of 9 tokens differ"),
        (Comparison(9, 1, 0.0), usual(differing=1), ""),
        (Comparison(9, 0, 0.01), usual(), "a log-probability differs by 0.01"),
        (Comparison(9, 0, 0.01), usual(drift=0.02), ""),
        (Comparison(9, 0, 0.01), usual(tolerance=0.02), ""),
    ],
)
def test_only_what_is_worse_than_usual_is_a_fault(found, than, said):
    assert fault(found, than) == said
