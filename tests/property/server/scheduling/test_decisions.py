"""What holds of every policy's decisions on every snapshot."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmux.server.scheduling.policies import PolicySettings, PolicyType, make_policy
from llmux.server.scheduling.snapshot import Costs, Deepen, Demand, Phase, Replica, Sleep, Snapshot, Wake
from scenes import NOW, after, held

NAMES = ("gpu", "memory", "disk")
policies = pytest.mark.parametrize(
    "policy", [make_policy(PolicySettings(name)) for name in PolicyType], ids=list(PolicyType)
)
times = st.floats(0, NOW)
amounts = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 8))


@st.composite
def replicas(draw, model):
    phase = draw(st.sampled_from(Phase))
    needs, keeps = draw(amounts), draw(amounts)
    deeper = {n: draw(st.integers(0, a)) for n, a in keeps.items()} if draw(st.booleans()) else None
    resting = phase is Phase.RESTING
    holds = {Phase.AWAKE: needs, Phase.RISING: needs, Phase.RESTING: keeps, Phase.DOWN: {}}.get(phase)
    if holds is None:
        holds = {n: max(needs.get(n, 0), keeps.get(n, 0)) for n in {**needs, **keeps}}
    return Replica(
        name="",
        model=model,
        phase=phase,
        since=draw(times),
        last_used=draw(times),
        in_flight=draw(st.integers(0, 3)) if phase in {Phase.AWAKE, Phase.SINKING} else 0,
        costs=Costs(*(draw(st.floats(0, 20)) for _ in range(3))),
        holds=holds,
        needs=needs,
        keeps=keeps,
        least=draw(st.none() | st.just(deeper)),
        deeper=deeper if resting else None,
        deepen_at=draw(st.none() | st.floats(0, 2 * NOW)) if resting and deeper is not None else None,
        sleep_refused=draw(st.booleans()) and draw(st.booleans()),
    )


@st.composite
def demands(draw, model):
    waiting = draw(st.integers(0, 3))
    return Demand(
        model,
        waiting=waiting,
        oldest=draw(times) if waiting else None,
        turn_ended=draw(st.none() | times),
        priority=draw(st.integers(-1, 1)),
        weight=draw(st.floats(0.1, 10)),
        awake_lately=draw(st.floats(0, 100)),
        pinned=draw(st.booleans()) and draw(st.booleans()),
        wanted=draw(st.booleans()) and draw(st.booleans()),
        min_awake=draw(st.sampled_from((0.0, 5.0, 2000.0))),
        ttl=draw(st.none() | st.floats(0, 2 * NOW)),
    )


@st.composite
def snapshots(draw):
    """Any node that is within its capacity."""
    models = [f"m{i}" for i in range(draw(st.integers(1, 5)))]
    found = [draw(replicas(model)) for model in models for _ in range(draw(st.integers(1, 2)))]
    named = tuple(replace(r, name=f"r{i}") for i, r in enumerate(found))
    used = {name: sum(r.holds.get(name, 0) for r in named) for name in NAMES}
    capacity = {name: used[name] + draw(st.integers(0, 6)) for name in NAMES if draw(st.booleans())}
    return Snapshot(NOW, capacity, named, {m: draw(demands(m)) for m in models})


@policies
@given(snapshot=snapshots())
@settings(max_examples=120, deadline=None)
def test_what_is_decided_can_be_begun_at_once_and_is_not_decided_again(policy, snapshot):
    decisions = policy(snapshot)
    assert policy(snapshot) == decisions
    then = after(snapshot, decisions.actions)
    assert all(n <= snapshot.capacity[name] for name, n in held(then).items())
    again = policy(then)
    assert again.actions == ()
    if decisions.look_again_at is not None:
        assert decisions.look_again_at > snapshot.now


@policies
@given(snapshot=snapshots())
@settings(max_examples=120, deadline=None)
def test_who_may_not_go_does_not(policy, snapshot):
    by_name = {r.name: r for r in snapshot.replicas}
    for action in policy(snapshot).actions:
        replica = by_name[action.replica]
        demand = snapshot.demands[replica.model]
        match action:
            case Sleep(why=why):
                assert not demand.pinned
                assert not replica.sleep_refused
                assert replica.since + demand.min_awake <= NOW or why.startswith("no request for")
            case Wake():
                assert demand.waiting or demand.wanted
            case Deepen():
                assert replica.deeper is not None


@policies
@given(snapshot=snapshots())
@settings(max_examples=120, deadline=None)
def test_who_waits_is_served_or_hopeless_or_something_is_to_come(policy, snapshot):
    """With nothing under way and nothing to come, no request is left to wait for ever."""
    decisions = policy(snapshot)
    under_way = any(r.phase in {Phase.RISING, Phase.SINKING, Phase.DOWN} for r in snapshot.replicas)
    if under_way or decisions.actions or decisions.look_again_at is not None:
        return
    awake = {r.model for r in snapshot.replicas if r.phase is Phase.AWAKE}
    for demand in snapshot.demands.values():
        if demand.waiting and demand.model not in awake:
            assert demand.model in decisions.hopeless or _others_are_about_to_get_requests(snapshot)


def _others_are_about_to_get_requests(snapshot):
    return any(
        r.phase is Phase.AWAKE and not r.in_flight and snapshot.demands[r.model].waiting
        for r in snapshot.replicas
    )
