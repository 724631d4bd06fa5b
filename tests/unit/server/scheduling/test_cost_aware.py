from llmux.server.scheduling.cost_aware import CostAware
from llmux.server.scheduling.snapshot import Costs, Sleep
from scenes import NOW, busy, node, resting, wants

ONE = {"gpu": 1}
POLICY = CostAware(amortization_factor=0.5, coalesce_window=2, max_wait=15)


def _decide(*demands, awake_for=100.0, wake=None):
    replicas = [resting(d.model, ONE, costs=Costs((wake or {}).get(d.model, 4.0), 2, 3)) for d in demands]
    return POLICY(node(ONE, busy("x", ONE, since=NOW - awake_for), *replicas, demands=demands))


def test_enough_requests_are_worth_a_switch_at_once():
    assert [type(a) for a in _decide(wants("a", 3, since=NOW)).actions] == [Sleep]
    assert _decide(wants("a", 2, since=NOW)).actions == ()


def test_too_few_wait_for_the_coalescing_window():
    assert _decide(wants("a", 1, since=NOW - 0.5)).look_again_at == NOW + 1.5
    assert [type(a) for a in _decide(wants("a", 1, since=NOW - 2)).actions] == [Sleep]


def test_a_busy_model_serves_as_long_as_the_next_switch_takes():
    decisions = _decide(wants("a", 9, since=NOW), awake_for=5)
    assert decisions.actions == ()
    assert decisions.look_again_at == NOW + 1


def test_a_stale_request_is_not_weighed():
    assert [type(a) for a in _decide(wants("a", 1, since=NOW - 15), awake_for=1).actions] == [Sleep]


def test_the_most_requests_per_second_of_waking_go_first_and_stale_ones_before():
    def first(*demands):
        replicas = [resting(d.model, ONE, costs=Costs(len(d.model) * 4.0, 2, 3)) for d in demands]
        return [a.replica for a in POLICY(node(ONE, *replicas, demands=demands)).actions]

    assert first(wants("aa", 3), wants("b", 2)) == ["b"]
    assert first(wants("aa", 5), wants("b", 2)) == ["aa"]
    assert first(wants("aa", 1, since=NOW - 20), wants("b", 9)) == ["aa"]
