"""Who has to sleep so that another may serve."""

from __future__ import annotations

from llmux.server._policy import Enter, Full, PutAway, Sleeper, Wait, make_room


def sleeper(name, *, can_sleep=True, leaving=False, in_flight=0, last_used=0.0):
    return Sleeper(name, can_sleep, leaving, in_flight, last_used)


NOBODY = frozenset()


def test_without_a_limit_there_is_always_a_place():
    assert make_room([sleeper("a"), sleeper("b")], None, NOBODY) == Enter()


def test_below_the_limit_there_is_a_place():
    assert make_room([sleeper("a")], 2, NOBODY) == Enter()


def test_the_least_recently_used_one_goes():
    assert make_room([sleeper("a", last_used=2), sleeper("b", last_used=1)], 2, NOBODY) == PutAway("b")


def test_an_idle_one_goes_before_a_busy_one():
    holders = [sleeper("busy", last_used=1, in_flight=1), sleeper("idle", last_used=2)]
    assert make_room(holders, 2, NOBODY) == PutAway("idle")


def test_a_place_that_is_becoming_free_is_waited_for():
    assert make_room([sleeper("a", leaving=True, can_sleep=False), sleeper("b")], 2, NOBODY) == Wait()


def test_one_that_is_only_starting_is_waited_for():
    assert make_room([sleeper("a", can_sleep=False)], 1, NOBODY) == Wait()


def test_when_all_have_refused_there_is_no_place():
    holders = [sleeper("b"), sleeper("a")]
    assert make_room(holders, 1, frozenset({"a", "b"})) == Full(("a", "b"))


def test_one_that_refused_is_not_asked_again_while_another_is_there():
    assert make_room([sleeper("a"), sleeper("b", last_used=9)], 2, frozenset({"a"})) == PutAway("b")
