import pytest

from llmux.server.scheduling.fair import Fair
from llmux.server.scheduling.fifo import Fifo
from llmux.server.scheduling.policies import PolicySettings, PolicyType, make_policy
from llmux.server.scheduling.snapshot import Decisions, Phase, Sleep, Wake
from llmux.server.simulate.outcome import Ended
from llmux.server.simulate.run import InvariantBroken, bound, simulate
from llmux.server.simulate.scenario import Model, Request, Rung, Scenario, plain

LIKE = Model("", {}, (Rung(wake=5.0, sleep=2.0),), drain=10.0, concurrency=2)
TWO = plain(("a", "b"), 1, LIKE)


def test_a_request_waits_for_the_wake_and_the_next_one_does_not():
    outcome = simulate(TWO, (Request(1, "a", 1.0), Request(7, "a", 1.0)), Fifo())
    assert outcome.waits == {0: 5.0, 1: 0.0}
    assert set(outcome.ends.values()) == {Ended.ANSWERED}
    assert outcome.wakes == 1
    assert outcome.worst_turn == {"a": 5.0}


def test_another_model_waits_for_drain_sleep_and_wake():
    outcome = simulate(TWO, (Request(0, "a", 4.0), Request(6, "b", 1.0)), Fifo())
    assert outcome.waits[1] == pytest.approx(3 + 2 + 5)  # a answers until 9
    phases = [(s.model, s.phase) for s in outcome.spans]
    assert phases[:3] == [("a", Phase.RISING), ("a", Phase.AWAKE), ("a", Phase.SINKING)]


def test_what_does_not_end_within_the_drain_is_cut():
    outcome = simulate(TWO, (Request(0, "a", 100.0), Request(6, "b", 1.0)), Fifo())
    assert outcome.ends == {0: Ended.CUT, 1: Ended.ANSWERED}
    assert outcome.waits[1] == pytest.approx(10 + 2 + 5)


def test_an_engine_answers_no_more_at_once_than_it_can():
    outcome = simulate(TWO, tuple(Request(0, "a", 1.0) for _ in range(5)), Fifo())
    assert sorted(outcome.waits.values()) == [5, 5, 6, 6, 7]
    assert outcome.worst_turn == {"a": 5.0}


def test_tokens_and_models_say_how_long_an_answer_takes():
    model = Model("a", {}, service=3.0, seconds_per_token=0.5)
    assert [
        model.seconds(r) for r in (Request(0, "a"), Request(0, "a", tokens=4), Request(0, "a", 7.0, 4))
    ] == [3, 2, 7]


def test_requests_leave_after_their_timeout_and_where_there_is_no_hope():
    never = Scenario({"awake": 1}, {"a": Model("a", {"awake": 2})}, request_timeout=3.0)
    assert simulate(never, (Request(0, "a"),), Fifo()).ends == {0: Ended.REFUSED}
    slow = Scenario({"awake": 1}, {"a": Model("a", {"awake": 1})}, request_timeout=3.0)
    assert simulate(slow, (Request(0, "a"),), Fifo()).ends == {0: Ended.TIMED_OUT}


def test_a_ladder_is_gone_down_and_a_wake_from_its_foot_takes_longer():
    ladder = (Rung({"memory": 4}, wake=1.0, sleep=1.0, stays=10.0), Rung({}, wake=8.0, sleep=2.0))
    model = Model("a", {"gpu": 1}, ladder, ttl=5.0)
    trace = (Request(0, "a", 1.0), Request(17, "a", 1.0), Request(60, "a", 1.0))
    outcome = simulate(Scenario({"gpu": 1, "memory": 4}, {"a": model}), trace, Fifo())
    assert outcome.waits == {0: 8.0, 1: 1.0, 2: 8.0}


def test_replicas_share_a_queue():
    model = Model("a", {"gpu": 1}, (Rung(wake=5.0),), replicas=2, concurrency=1)
    outcome = simulate(
        Scenario({"gpu": 2}, {"a": model}), tuple(Request(0, "a", 20.0) for _ in range(2)), Fifo()
    )
    assert outcome.wakes == 2
    assert outcome.waits == {0: 5.0, 1: 10.0}


@pytest.mark.parametrize("name", PolicyType)
def test_chance_is_the_seeds(name):
    trace = tuple(Request(i * 0.7, "ab"[i % 2], 1.0) for i in range(40))
    one, same, other = (
        simulate(TWO, trace, make_policy(PolicySettings(name)), jitter=0.5, seed=s) for s in (1, 1, 2)
    )
    assert one.waits == same.waits != other.waits


def _wakes_everybody(snapshot):
    return Decisions(tuple(Wake(r.name, "") for r in snapshot.replicas if r.phase is Phase.RESTING))


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        (_wakes_everybody, "are held where there are"),
        (lambda _: Decisions((Sleep("a/0", ""),)), "for a replica that is resting"),
        (lambda s: Decisions(look_again_at=s.now), "looked at again"),
    ],
)
def test_a_policy_that_does_what_must_not_be_is_found_out(policy, says):
    with pytest.raises(InvariantBroken, match=says):
        simulate(TWO, (Request(0, "a"),), policy)


def test_a_policy_that_never_ends_is_found_out():
    scenario = plain(tuple("abcdefgh"), 8)

    def one_at_a_time(snapshot):
        return Decisions(tuple(Wake(r.name, "") for r in snapshot.replicas if r.phase is Phase.RESTING)[:1])

    with pytest.raises(InvariantBroken, match="have no end"):
        simulate(scenario, (Request(0, "a"),), one_at_a_time)


def test_the_bound_of_a_node():
    clear, wakes = 7 + 10 + 2, 5 + 5
    assert bound(TWO, Fair(max_wait=10)) == 10 + 2 + 5 + 2 * clear + wakes
    assert bound(TWO, Fair(max_wait=500)) == 500
