from llmux.server.scheduling.snapshot import Sleep
from llmux.server.scheduling.time_slice import TimeSlice
from scenes import NOW, busy, node, resting, wants

ONE = {"gpu": 1}
POLICY = TimeSlice(tick=0.5, min_quantum=1.8, max_wait=15)


def _decide(*demands, awake_for):
    return POLICY(
        node(
            ONE,
            busy("x", ONE, since=NOW - awake_for),
            *(resting(d.model, ONE) for d in demands),
            demands=demands,
        )
    )


def test_a_slice_is_a_whole_number_of_ticks_and_no_less_than_the_quantum():
    decisions = _decide(wants("a"), awake_for=1)
    assert decisions.actions == ()
    assert decisions.look_again_at == NOW + 1
    assert [type(a) for a in _decide(wants("a"), awake_for=2).actions] == [Sleep]


def test_a_stale_request_ends_a_slice():
    assert [type(a) for a in _decide(wants("a", since=NOW - 15), awake_for=0).actions] == [Sleep]


def test_the_most_requests_go_first_and_stale_ones_before():
    def first(*demands):
        return [
            a.replica
            for a in POLICY(node(ONE, *(resting(d.model, ONE) for d in demands), demands=demands)).actions
        ]

    assert first(wants("a", 1), wants("b", 2)) == ["b"]
    assert first(wants("a", 1, since=NOW - 16), wants("b", 2)) == ["a"]
    assert first(wants("a", 1, priority=1), wants("b", 2)) == ["a"]
