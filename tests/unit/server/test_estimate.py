"""How long until a model serves, as far as its costs tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmux.server._estimate import until_any_served, until_served
from llmux.server.scheduling.snapshot import Costs, Demand, Phase, Replica, Snapshot

NOW = 1000.0
COSTS = Costs(wake=10.0, sleep=4.0, drain=30.0)
NONE = {}


def replica(model="m", phase=Phase.RESTING, ago=0.0, name=None, **fields):
    awake = phase in {Phase.AWAKE, Phase.RISING, Phase.SINKING}
    given = {"last_used": 0.0, "in_flight": 0, "costs": COSTS, "holds": {"awake": 1} if awake else NONE}
    return Replica(
        name or model, model, phase, NOW - ago, needs={"awake": 1}, keeps=NONE, **{**given, **fields}
    )


def snapshot(*replicas, awake=1, **demands):
    every = {each.model: demands.get(each.model, Demand(each.model)) for each in replicas}
    return Snapshot(NOW, {"awake": awake}, replicas, every)


def estimate(*replicas, pauses=NONE, **demands):
    return until_served(snapshot(*replicas, **demands), "m", pauses)


@pytest.mark.parametrize(
    ("one", "seconds"),
    [
        (replica(phase=Phase.AWAKE), 0.0),
        (replica(), 10.0),
        (replica(phase=Phase.RISING, ago=7.0), 3.0),
        (replica(phase=Phase.RISING, ago=70.0), 2.5),  # longer than it used to: some time more
        (replica(phase=Phase.SINKING, ago=1.0), 13.0),
        (replica(phase=Phase.SINKING, ago=1.0, in_flight=2), 43.0),
    ],
    ids=lambda each: getattr(each, "phase", None),
)
def test_one_that_nobody_is_in_the_way_of(one, seconds):
    assert estimate(one) == seconds


def test_one_that_has_failed_is_first_waited_for():
    assert estimate(replica(phase=Phase.DOWN), pauses={"m": 8.0}) == 18.0


def test_the_first_of_several_replicas_counts():
    assert estimate(replica(), replica(phase=Phase.RISING, ago=6.0, name="m@2")) == 4.0


@pytest.mark.parametrize(
    ("other", "seconds"),
    [
        (replica("x", Phase.AWAKE), 14.0),
        (replica("x", Phase.AWAKE, in_flight=1), 44.0),
        (replica("x", Phase.SINKING, ago=3.0), 11.0),
        (replica("x", Phase.RISING, ago=4.0), 20.0),
        (replica("x"), 10.0),
    ],
    ids=["idle", "busy", "leaving", "coming", "asleep"],
)
def test_another_makes_room_first(other, seconds):
    assert estimate(replica(), other) == seconds


def test_another_that_is_to_stay_awake_for_a_time_has_it():
    assert estimate(replica(), replica("x", Phase.AWAKE, ago=5.0), x=Demand("x", min_awake=20.0)) == 29.0


def test_where_both_have_room_nobody_makes_any():
    assert estimate(replica(), replica("x", Phase.AWAKE), awake=2) == 10.0


def test_whoever_came_earlier_or_is_more_urgent_has_a_turn_first():
    others = replica("x", Phase.AWAKE), replica("old"), replica("new"), replica("urgent")
    waiting = {
        "m": Demand("m", waiting=1, oldest=NOW - 5),
        "old": Demand("old", waiting=1, oldest=NOW - 9),
        "new": Demand("new", waiting=1, oldest=NOW - 1),
        "urgent": Demand("urgent", waiting=1, oldest=NOW - 1, priority=1),
    }
    assert estimate(replica(), *others, **waiting) == 4.0 + 2 * 14.0 + 10.0


def test_room_in_all_queues_comes_with_the_first_that_serves():
    seen = snapshot(
        replica(),
        replica("x", Phase.RISING, ago=7.0),
        awake=2,
        m=Demand("m", waiting=1),
        x=Demand("x", waiting=1),
    )
    assert until_any_served(seen, NONE) == 3.0
    assert until_any_served(snapshot(replica()), NONE) == 0.0


@given(
    st.lists(
        st.tuples(st.sampled_from("mxyz"), st.sampled_from(Phase), st.floats(0, 500), st.integers(0, 3)),
        min_size=1,
    ),
    st.integers(0, 3),
)
def test_any_node_has_an_estimate(replicas, awake):
    every = [
        replica(model, phase, ago, f"{model}@{n}", in_flight=flights)
        for n, (model, phase, ago, flights) in enumerate(replicas)
    ]
    seen = snapshot(*every, awake=awake, x=Demand("x", waiting=2, oldest=1.0))
    for each in every:
        assert 0 <= until_served(seen, each.model, {}) < 10_000
