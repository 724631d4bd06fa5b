from dataclasses import replace

import pytest

from llmux.server.scheduling.fair import Fair
from llmux.server.scheduling.snapshot import Demand, Sleep
from llmux.server.simulate.run import simulate
from llmux.server.simulate.scenario import Model, Request, Rung, Scenario
from scenes import NOW, busy, node, resting, wants

ONE = {"gpu": 1}
POLICY = Fair(max_wait=60, quantum=2, amortization_factor=1)


def _node(*demands, holder=None):
    waiting = [resting(d.model, ONE) for d in demands if d.model != "x"]
    return node(ONE, holder or busy("x", ONE, since=NOW - 100), *waiting, demands=demands)


def _asleep(snapshot):
    return [a.replica for a in POLICY(snapshot).actions if isinstance(a, Sleep)]


def test_a_model_that_does_more_than_waits_elsewhere_is_kept_for_as_long_as_a_switch_takes():
    holder = busy("x", ONE, since=NOW - 100, in_flight=5)
    decisions = POLICY(_node(wants("a", since=NOW), holder=holder))
    assert decisions.actions == ()
    assert decisions.look_again_at == NOW + 2 + 4
    assert _asleep(_node(wants("a", since=NOW - 6), holder=holder)) == ["x"]


def test_a_model_that_does_less_makes_room_at_once():
    assert _asleep(_node(wants("a", 1, since=NOW))) == ["x"]


def test_a_model_with_requests_left_over_has_its_share_of_the_time_there_is():
    def until(weight):
        holder = busy("x", ONE, since=NOW)
        snapshot = _node(wants("x", weight=weight), wants("a", since=NOW), holder=holder)
        return POLICY(snapshot).look_again_at - NOW

    spare = 60 - POLICY.terms(_node(wants("a"))).blocking - POLICY.terms(_node(wants("a"))).turn("a")
    assert until(1) == pytest.approx(spare / 2)
    assert until(3) == pytest.approx(spare * 3 / 4)


def test_from_the_latest_start_on_a_quantum_is_all_that_protects():
    holder = busy("x", ONE, since=NOW - 4)
    late = _node(wants("x"), wants("a", since=NOW - 59), holder=holder)
    assert POLICY.full_quantum(holder) == 6
    assert POLICY(late).look_again_at == NOW + 2
    assert _asleep(replace(late, now=NOW + 2)) == ["x"]


def test_the_latest_start_is_when_every_turn_would_still_be_in_time():
    holder = busy("x", ONE, since=NOW + 100)
    snapshot = _node(wants("a", since=NOW), Demand("x", min_awake=0), holder=holder)
    worst = POLICY.terms(snapshot)
    assert POLICY(snapshot).look_again_at == NOW + worst.bound(60) - worst.blocking - worst.turn("a")


def _first(*demands, policy=POLICY):
    snapshot = node(ONE, *(resting(d.model, ONE) for d in demands), demands=demands)
    return [a.replica for a in policy(snapshot).actions]


def test_who_has_waited_longer_goes_first_and_of_equals_who_had_less_than_its_share():
    assert _first(wants("a", 9, since=NOW - 1), wants("b", 1, since=NOW - 2)) == ["b"]
    assert _first(wants("a", awake_lately=9), wants("b", awake_lately=8)) == ["b"]
    assert _first(wants("a", awake_lately=9, weight=3), wants("b", awake_lately=8)) == ["a"]


def test_priority_goes_first_while_there_is_time_and_deadlines_after():
    assert _first(wants("a", since=NOW - 30), wants("b", since=NOW, priority=1)) == ["b"]
    assert _first(wants("a", since=NOW - 59), wants("b", since=NOW, priority=1)) == ["a"]


def test_models_that_always_have_requests_share_the_time_by_weight():
    """Two models with more requests than one can answer: three times the weight, three times the time awake."""
    rungs = (Rung(wake=1.0, sleep=1.0),)
    models = {
        n: Model(n, ONE, rungs, drain=2.0, concurrency=1, weight=w) for n, w in (("light", 1), ("heavy", 3))
    }
    trace = tuple(Request(i * 0.01, name, 1.0) for i in range(4000) for name in models)
    outcome = simulate(Scenario(ONE, models), trace, Fair(max_wait=120, quantum=2))
    awake = {
        name: sum(s.end - s.begin for s in outcome.spans if s.model == name and s.end < 3000)
        for name in models
    }
    assert awake["heavy"] / awake["light"] == pytest.approx(3, rel=0.25)
