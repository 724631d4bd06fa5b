"""What somebody decides by hand goes before the policy, and in manual mode instead of it."""

from dataclasses import replace

from llmux.server.scheduling.directed import NOBODY_GOES, directed
from llmux.server.scheduling.fair import Fair
from llmux.server.scheduling.fifo import Fifo
from llmux.server.scheduling.snapshot import Demand, Sleep, Wake
from scenes import NOW, awake, busy, node, resting, wants

ONE = {"gpu": 1}


def asked(model, *, at_once=False, **fields):
    return replace(wants(model, **fields), by_hand=1, at_once=at_once)


def did(decisions):
    return [(type(each), each.replica) for each in decisions.actions]


def by_hand(decisions):
    return [each.by_hand for each in decisions.actions]


def test_the_policy_decides_where_nobody_does():
    scene = node(ONE, resting("a", ONE), demands=(wants("a"),))
    assert directed(Fifo(), scene, manual=False) == Fifo()(scene)


def test_a_switch_pushes_out_a_busy_one_that_the_policy_would_keep():
    scene = node(
        ONE, resting("a", ONE), busy("x", ONE, since=NOW - 1), demands=(asked("a"), Demand("x", min_awake=60))
    )
    assert did(directed(Fair(), scene, manual=False)) == []
    switch = node(
        ONE,
        resting("a", ONE),
        busy("x", ONE, since=NOW - 1),
        demands=(asked("a", at_once=True), Demand("x", min_awake=60)),
    )
    for manual in (False, True):
        decisions = directed(Fair(), switch, manual=manual)
        assert (did(decisions), by_hand(decisions)) == ([(Sleep, "x")], [True])


def test_a_switch_goes_before_who_has_waited_longer():
    demands = (asked("a", at_once=True, since=NOW - 1), wants("b", since=NOW - 100))
    scene = node(ONE, resting("a", ONE), resting("b", ONE), demands=demands)
    assert did(directed(Fifo(), scene, manual=False)) == [(Wake, "a")]


def test_a_switch_never_pushes_out_a_pinned_one():
    scene = node(
        ONE, resting("a", ONE), awake("x", ONE), demands=(asked("a", at_once=True), Demand("x", pinned=True))
    )
    decisions = directed(Fifo(), scene, manual=False)
    assert did(decisions) == []
    assert "x is pinned" in decisions.hopeless["a"]


def test_in_manual_mode_nothing_goes_or_comes_by_itself():
    scene = node(
        {"gpu": 2},
        resting("a", ONE),
        resting("b", ONE),
        awake("x", ONE, last_used=NOW - 1000),
        demands=(wants("a"), Demand("b", wanted=True), Demand("x", ttl=1)),
    )
    assert len(did(Fifo()(scene))) > 1
    assert did(directed(Fifo(), scene, manual=True)) == []


def test_in_manual_mode_a_wake_by_hand_takes_what_is_free_and_puts_nobody_to_sleep():
    for capacity, expected in ((2, [(Wake, "a")]), (1, [])):
        scene = node({"gpu": capacity}, resting("a", ONE), awake("x", ONE), demands=(asked("a"), Demand("x")))
        decisions = directed(Fifo(), scene, manual=True)
        assert did(decisions) == expected
        assert all(by_hand(decisions))
        assert decisions.hopeless == ({} if expected else {"a": NOBODY_GOES})
