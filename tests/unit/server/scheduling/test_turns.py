from dataclasses import replace

import pytest

from llmux.server.scheduling.ranking import AT_ONCE, NEVER, Ranking, waiting
from llmux.server.scheduling.snapshot import Deepen, Demand, Phase, Sleep, Wake
from llmux.server.scheduling.turns import decide
from scenes import COSTS, NOW, after, awake, busy, node, resting, wants

ONE = {"gpu": 1}


def _decide(snapshot, push_at=AT_ONCE, keeps_place=()):
    turns = tuple(d.model for d in waiting(snapshot))
    return decide(snapshot, Ranking(turns, lambda _model, _victim: push_at, frozenset(keeps_place)))


def _done(snapshot, push_at=AT_ONCE, keeps_place=()):
    return [(type(a), a.replica) for a in _decide(snapshot, push_at, keeps_place).actions]


def test_a_model_that_fits_is_woken_at_once():
    assert _done(node(ONE, resting("a", ONE), demands=(wants("a"),))) == [(Wake, "a")]


@pytest.mark.parametrize(("by_hand", "why"), [(0, "2 waiting"), (1, "2 waiting"), (2, "by hand")])
def test_a_wake_says_whether_requests_wait_or_only_somebody_who_asked_for_it(by_hand, why):
    (wake,) = _decide(node(ONE, resting("a", ONE), demands=(wants("a", 2, by_hand=by_hand),))).actions
    assert (wake.why, wake.by_hand) == (why, why == "by hand")


def test_models_that_fit_are_woken_together():
    one, other = resting("a", ONE), resting("b", ONE)
    assert _done(node({"gpu": 2}, one, other, demands=(wants("a"), wants("b")))) == [(Wake, "a"), (Wake, "b")]
    assert _done(node(ONE, one, other, demands=(wants("a"), wants("b")))) == [(Wake, "a")]


def test_an_idle_model_makes_room_at_once_and_then_one_waits_for_it():
    snapshot = node(ONE, awake("a", ONE), resting("b", ONE), demands=(wants("b"),))
    decisions = _decide(snapshot, NEVER)
    assert [(type(a), a.replica) for a in decisions.actions] == [(Sleep, "a")]
    assert decisions.actions[0].why == "makes room for b"
    assert _done(after(snapshot, decisions.actions)) == []


def test_an_idle_model_stays_awake_for_its_least_time():
    fresh = awake("a", ONE, since=NOW - 3)
    decisions = _decide(node(ONE, fresh, resting("b", ONE), demands=(wants("b"), Demand("a", min_awake=5))))
    assert decisions.actions == ()
    assert decisions.look_again_at == NOW + 2


def test_a_busy_model_makes_room_when_the_policy_says():
    snapshot = node(ONE, busy("a", ONE), resting("b", ONE), demands=(wants("b"),))
    assert _decide(snapshot, NOW + 7).look_again_at == NOW + 7
    assert _done(snapshot, NOW + 7) == []
    assert _done(snapshot, NOW) == [(Sleep, "a")]


def test_nobody_is_put_to_sleep_who_is_about_to_get_the_requests_that_wait_for_him():
    snapshot = node(ONE, awake("a", ONE), resting("b", ONE), demands=(wants("a"), wants("b")))
    assert _done(snapshot) == []


@pytest.mark.parametrize("kept", [{"demand": {"pinned": True}}, {"replica": {"sleep_refused": True}}])
def test_hopeless_where_nobody_can_make_room(kept):
    holder = awake("a", ONE, **kept.get("replica", {}))
    demand = Demand("a", **kept.get("demand", {}))
    decisions = _decide(node(ONE, holder, resting("b", ONE), demands=(wants("b"), demand)))
    assert decisions.actions == ()
    assert set(decisions.hopeless) == {"b"}


def test_what_does_not_fit_does_not_block_what_does_unless_it_keeps_its_place():
    big, small = resting("big", {"gpu": 2}), resting("small", ONE)
    snapshot = node({"gpu": 2}, busy("a", ONE), big, small, demands=(wants("big"), wants("small")))
    assert _done(snapshot, NEVER) == [(Wake, "small")]
    assert _done(snapshot, NEVER, ["big"]) == []


def test_no_place_is_kept_for_a_model_that_can_never_have_it():
    scene = node(ONE, resting("a", {"gpu": 2}), resting("b", ONE), demands=(wants("a"), wants("b")))
    decisions = _decide(scene, keeps_place=("a", "b"))
    assert set(decisions.hopeless) == {"a"}
    assert [(type(each), each.replica) for each in decisions.actions] == [(Wake, "b")]


def test_a_place_is_kept_for_a_model_that_is_still_on_its_way_to_sleep():
    sinking = replace(awake("a", ONE), phase=Phase.SINKING)
    snapshot = node({"gpu": 2}, sinking, resting("b", {"gpu": 1}), demands=(wants("a"), wants("b")))
    assert _done(snapshot, AT_ONCE, ["a"]) == [(Wake, "b")]
    assert _done(replace(snapshot, capacity=ONE), AT_ONCE, ["a"]) == []


def test_what_an_earlier_one_waits_for_is_not_given_to_a_later_one():
    sinking = replace(awake("x", ONE), phase=Phase.SINKING)
    snapshot = node(
        {"gpu": 2}, sinking, resting("a", {"gpu": 2}), resting("b", ONE), demands=(wants("a"), wants("b"))
    )
    assert _done(snapshot) == []


def test_the_cheapest_replica_of_a_model_is_woken_and_one_is_enough():
    dear = resting("dear", ONE, model="m", costs=replace(COSTS, wake=9))
    cheap = resting("cheap", ONE, model="m")
    assert _done(node({"gpu": 2}, dear, cheap, demands=(wants("m"),))) == [(Wake, "cheap")]


def test_a_second_replica_is_woken_where_the_first_is_busy_with_a_queue_and_there_is_room():
    first, second = busy("1", ONE, model="m"), resting("2", ONE, model="m")
    assert _done(node({"gpu": 2}, first, second, demands=(wants("m"),))) == [(Wake, "2")]
    assert _done(node({"gpu": 2}, first, second, demands=(Demand("m"),))) == []


@pytest.mark.parametrize(
    ("other", "demand", "goes"),
    [
        (busy("x", ONE), Demand("x"), False),
        (awake("x", ONE, last_used=NOW - 5), Demand("x"), False),
        (awake("x", ONE, last_used=NOW - 50), Demand("x", wanted=True), False),
        (awake("x", ONE, last_used=NOW - 50), Demand("x"), True),
    ],
)
def test_only_one_idle_for_longer_than_a_switch_takes_goes_for_a_second_replica(other, demand, goes):
    first, second = busy("1", ONE, model="m"), resting("2", ONE, model="m")
    done = _done(node({"gpu": 2}, first, second, other, demands=(wants("m"), demand)))
    assert done == ([(Sleep, "x")] if goes else [])


def test_a_wanted_model_is_woken_where_there_is_room_after_those_with_requests():
    wanted, asked = resting("a", ONE), resting("b", ONE)
    demands = (Demand("a", wanted=True), wants("b"))
    assert _done(node(ONE, wanted, asked, demands=demands)) == [(Wake, "b")]
    assert _done(node({"gpu": 2}, wanted, asked, demands=demands)) == [(Wake, "b"), (Wake, "a")]


def test_a_model_unused_for_its_ttl_sleeps():
    snapshot = node(ONE, awake("a", ONE, last_used=NOW - 10), demands=(Demand("a", ttl=10),))
    assert _done(snapshot) == [(Sleep, "a")]
    later = replace(snapshot, demands={"a": Demand("a", ttl=12)})
    assert _decide(later).look_again_at == NOW + 2
    for kept in (Demand("a", ttl=10, pinned=True), Demand("a", ttl=10, wanted=True)):
        assert _done(replace(snapshot, demands={"a": kept})) == []


def test_a_ladder_goes_down_at_its_time_but_not_while_somebody_waits():
    rung = resting("a", ONE, holds={"memory": 4}, deeper={"disk": 4}, deepen_at=NOW)
    room = {"gpu": 0, "memory": 4, "disk": 4}
    assert _done(node(room, rung)) == [(Deepen, "a")]
    assert _done(node({**room, "disk": 3}, rung)) == []
    assert _done(node({**room, "gpu": 1}, rung, demands=(wants("a"),))) == [(Wake, "a")]
    assert _decide(node(room, replace(rung, deepen_at=NOW + 3))).look_again_at == NOW + 3


def test_resting_models_deepen_for_a_wake_and_then_the_wake_follows():
    asleep = resting("a", ONE, holds={"memory": 4}, deeper={})
    snapshot = node(
        {"gpu": 1, "memory": 4}, asleep, resting("b", {"gpu": 1, "memory": 1}), demands=(wants("b"),)
    )
    decisions = _decide(snapshot)
    assert [(type(a), a.replica) for a in decisions.actions] == [(Deepen, "a")]
    sinking = after(snapshot, decisions.actions)
    arrived = tuple(
        replace(r, phase=Phase.RESTING, holds=r.keeps, deeper=None) if r.name == "a" else r
        for r in sinking.replicas
    )
    assert _done(replace(sinking, replicas=arrived)) == [(Wake, "b")]


def test_a_sleep_waits_for_the_room_that_it_needs_itself():
    offloads = awake("a", ONE, keeps={"memory": 4})
    asleep = resting("z", ONE, holds={"memory": 4}, deeper={})
    snapshot = node({"gpu": 1, "memory": 4}, offloads, asleep, resting("b", ONE), demands=(wants("b"),))
    assert _done(snapshot) == [(Deepen, "z")]
    sinking = after(snapshot, _decide(snapshot).actions)
    assert _done(sinking) == []
    arrived = tuple(
        replace(r, phase=Phase.RESTING, holds={}, keeps={}, deeper=None) if r.name == "z" else r
        for r in sinking.replicas
    )
    assert _done(replace(sinking, replicas=arrived)) == [(Sleep, "a")]


def test_failed_replicas_are_not_woken_and_their_model_is_not_hopeless():
    down = replace(resting("a", ONE), phase=Phase.DOWN)
    decisions = _decide(node(ONE, down, demands=(wants("a"),)))
    assert decisions.actions == ()
    assert decisions.hopeless == {}


def test_a_sleep_never_begins_that_has_no_room_on_its_way_down():
    offloads = awake("a", {"gpu": 1, "memory": 1}, keeps={"memory": 4}, least={})
    want = resting("b", {"gpu": 1, "memory": 3})
    assert _done(node({"gpu": 1, "memory": 3}, offloads, want, demands=(wants("b"),))) == []
    snapshot = node({"gpu": 1, "memory": 4}, offloads, want, demands=(wants("b"),))
    decisions = _decide(snapshot)
    assert [(type(a), a.replica) for a in decisions.actions] == [(Sleep, "a")]
    sinking = after(snapshot, decisions.actions)
    assert _done(sinking) == []
    arrived = tuple(
        replace(r, phase=Phase.RESTING, holds=r.keeps, deeper={}) if r.name == "a" else r
        for r in sinking.replicas
    )
    assert _done(replace(sinking, replicas=arrived)) == [(Deepen, "a")]
