from llmux.server.scheduling.bound import terms
from llmux.server.scheduling.snapshot import Costs, Demand
from scenes import awake, node, resting


def test_a_round_is_everybodys_turn_and_one_switch_under_way():
    snapshot = node(
        {"gpu": 1},
        awake("a", {"gpu": 1}, costs=Costs(wake=4, sleep=2, drain=3)),
        resting("b", {"gpu": 1}, costs=Costs(wake=10, sleep=1, drain=3)),
        demands=(Demand("b", min_awake=7),),
    )
    worst = terms(snapshot, quantum=lambda _replica: 5)
    assert worst.clear == 7 + 3 + 1
    assert worst.turn("a") == 11 + 4
    assert worst.blocking == 3 + 2 + 10
    assert worst.round == 15 + (11 + 4) + (11 + 10)
    assert worst.bound(60) == 60
    assert worst.bound(20) == worst.round


def test_a_pinned_model_is_in_nobodys_way():
    snapshot = node({}, awake("a", {}), resting("b", {}), demands=(Demand("a", pinned=True, min_awake=99),))
    assert terms(snapshot, quantum=lambda _replica: 1).clear == 1 + 3 + 2
