"""The verdict, and the medians of what was measured."""

import pytest

from gpu_check._plan import Case
from gpu_check._results import FAILED, PASSED, Numbers, Outcome, Result, Round, verdict


def results(**outcomes):
    return [Result(Case[name], Outcome[outcome]) for name, outcome in outcomes.items()]


@pytest.mark.parametrize(
    ("outcomes", "code", "words"),
    [
        ({"BANDWIDTH": "PASSED", "BARE": "PASSED", "TORCH": "NOT_RUN"}, PASSED, "passed: 2 of 3; not run: 1"),
        ({"BARE": "PASSED", "TINY": "FAILED", "TORCH": "FAILED"}, FAILED, "FAILED: tiny, torch"),
        (
            {"BANDWIDTH": "PASSED", "BARE": "NOT_RUN"},
            FAILED,
            "FAILED: nothing of what is to be proved could be run",
        ),
        ({"BARE": "NOT_RUN"}, FAILED, "FAILED: nothing of what is to be proved could be run"),
    ],
)
def test_all_that_ran_passed_and_something_did(outcomes, code, words):
    assert verdict(results(**outcomes)) == (code, words)


def test_medians_leave_out_the_start_of_programs():
    numbers = Numbers(8, tuple(Round(out, 3.0, 0.5) for out in (1.0, 9.0, 2.0)))
    assert (numbers.out, numbers.back, numbers.started) == (1.5, 2.5, 0.5)


def test_nothing_measured_is_nothing_and_noise_is_not_less():
    assert (Numbers().out, Numbers().back, Numbers().started) == (0, 0, 0)
    assert Numbers(8, (Round(0.1, 0.1, 0.5),)).out == 0
