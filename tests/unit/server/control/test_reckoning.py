"""What is left of long work, by what was measured and by what is done."""

from __future__ import annotations

import pytest

from llmux.server.control._reckoning import Pace, Progress, Reading, Tally, left, left_of_move

SLEEP = "sleep:checkpoint"
PARTS = {f"{SLEEP}/engine_sleep": 2.0, f"{SLEEP}/dump": 8.0, f"{SLEEP}/end": 1.0, "wake:stop/health": 30.0}


def test_a_percentage_is_of_time_where_it_is_known_and_else_of_bytes():
    assert Progress("p", eta=30.0, size=1, size_in_all=100).percent(10.0) == 25.0
    assert Progress("p", size=30, size_in_all=100).percent(10.0) == 30.0
    assert Progress("p").percent(10.0) is None


@pytest.mark.parametrize("progress", [Progress("p", size=300, size_in_all=100), Progress("p", eta=0.0)])
def test_what_is_not_over_is_never_whole(progress):
    assert progress.percent(10.0) == 99.0


def test_no_time_at_all_is_nothing():
    assert Progress("p", eta=0.0).percent(0.0) == 0.0


def test_what_is_late_needs_a_quarter_of_its_usual_time_again():
    assert (left(8.0, 3.0), left(8.0, 7.0), left(8.0, 100.0)) == (5.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("phase", "passed", "share", "expected"),
    [
        ("engine_sleep", 0.5, None, 1.5 + 8 + 1),
        ("dump", 2.0, None, 6 + 1),
        ("dump", 2.0, 0.01, 6 + 1),  # too little to tell
        ("dump", 2.0, 0.2, 8 + 1),
        ("dump", 2.0, 1.5, 0 + 1),  # larger than the last one
        ("end", 0.0, None, 1),
    ],
)
def test_what_is_left_is_of_this_phase_and_of_those_that_follow(phase, passed, share, expected):
    assert left_of_move(PARTS, SLEEP, phase, passed, share) == pytest.approx(expected)


def test_leaving_the_gpus_and_coming_back_are_parts_of_a_move():
    parts = {
        "sleep:cuda_suspend/engine_sleep": 1.0,
        "sleep:cuda_suspend/cuda_suspend": 4.0,
        "wake:cuda_suspend/cuda_resume": 3.0,
        "wake:cuda_suspend/wake": 2.0,
    }
    assert left_of_move(parts, "sleep:cuda_suspend", "engine_sleep", 0.5) == 0.5 + 4
    assert left_of_move(parts, "wake:cuda_suspend", "cuda_resume", 1.0) == 2 + 2


def test_what_was_never_measured_is_not_known():
    assert left_of_move({}, SLEEP, "dump", 1.0) is None
    assert left_of_move(PARTS, SLEEP, "frozen", 1.0) is None
    assert left_of_move({}, SLEEP, "dump", 1.0, 0.5) == 1.0


def test_checkpoints_are_read_as_fast_as_the_last_one_was():
    pace = Pace()
    assert pace.usual(100) is None
    pace.seen(1000, 10.0)
    pace.seen(0, 10.0)
    assert pace.usual(800) == 8.0


def test_a_reading_goes_on_as_it_used_to_until_its_own_pace_tells():
    reading = Reading(100, 8.0)
    assert reading.how_far(3.0) == Progress("verifying", 5.0, 0, 100)
    reading.told("images", 4, 60)
    assert reading.how_far(3.0) == Progress("verifying", 5.0, 4, 100)
    reading.told("images", 50, 60)
    assert reading.how_far(3.0) == Progress("verifying", 3.0, 50, 100)
    assert Reading(100).how_far(3.0) == Progress("verifying", None, 0, 100)


def test_the_parts_of_a_reading_add_up_and_holes_make_it_longer():
    reading = Reading(100)
    reading.told("images", 60, 60)
    reading.told("copies", 0, 30)
    assert reading.how_far(6.0) == Progress("verifying", 4.0, 60, 100)
    reading.told("copies", 180, 240)
    assert reading.how_far(8.0) == Progress("verifying", 2.0, 240, 300)


def test_a_tally_goes_on_at_its_own_pace():
    tally = Tally("removing")
    assert tally.how_far(1.0) == Progress("removing", None, 0, 0)
    tally.in_all, tally.done = 100, 25
    assert tally.how_far(2.0) == Progress("removing", 6.0, 25, 100)
