from llmux.server.scheduling.fifo import Fifo
from llmux.server.scheduling.snapshot import Demand
from scenes import NOW, busy, node, resting, wants

ONE = {"gpu": 1}


def _first(*demands, holder=None):
    replicas = [resting(d.model, ONE) for d in demands if d.waiting]
    decisions = Fifo()(node(ONE, *replicas, *([holder] if holder else []), demands=demands))
    return [a.replica for a in decisions.actions]


def test_who_came_first_goes_first_and_the_more_urgent_before():
    assert _first(wants("a", since=NOW - 1), wants("b", since=NOW - 2)) == ["b"]
    assert _first(wants("a", since=NOW - 1, priority=1), wants("b", since=NOW - 2)) == ["a"]


def test_a_model_that_has_just_had_its_turn_waits_from_then_on():
    assert _first(wants("a", since=NOW - 9, turn_ended=NOW - 1), wants("b", since=NOW - 2)) == ["b"]


def test_a_busy_one_makes_room_at_once_after_its_least_time_awake():
    holder = busy("x", ONE, since=NOW - 3)
    assert _first(wants("a"), holder=holder) == ["x"]
    assert _first(wants("a"), Demand("x", min_awake=5), holder=holder) == []
