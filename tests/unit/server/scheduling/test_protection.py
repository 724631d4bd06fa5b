"""What protects whoever is in a waiting model's way, and whom it waits for first."""

from __future__ import annotations

import pytest

from llmux.server.scheduling.fair import Fair
from llmux.server.scheduling.fifo import Fifo
from llmux.server.scheduling.protection import protection
from llmux.server.scheduling.ranking import NEVER, Ranking
from llmux.server.scheduling.snapshot import Demand, Rule, Wait
from scenes import NOW, after, awake, busy, node, resting, wants

ONE = {"gpu": 1}
TURNS = Ranking(("a",), lambda _model, victim: victim.since + 9, frozenset())


@pytest.mark.parametrize(
    ("replica", "demand", "expected"),
    [
        (awake("x", ONE, since=NOW), Demand("x"), (NOW, Rule.MIN_AWAKE)),
        (awake("x", ONE, since=NOW), Demand("x", min_awake=5), (NOW + 5, Rule.MIN_AWAKE)),
        (busy("x", ONE, since=NOW), Demand("x", min_awake=5), (NOW + 9, Rule.TURN)),
        (busy("x", ONE, since=NOW), Demand("x", min_awake=50), (NOW + 50, Rule.MIN_AWAKE)),
        (busy("x", ONE), Demand("x", pinned=True), (NEVER, Rule.PINNED)),
        (awake("x", ONE, sleep_refused=True), Demand("x"), (NEVER, Rule.SLEEP_FAILED)),
        (awake("x", ONE), wants("x"), (NEVER, None)),
    ],
)
def test_an_awake_replica_is_protected_by_one_rule(replica, demand, expected):
    assert protection("a", TURNS, replica, demand) == expected


def test_a_waiting_model_waits_for_whoever_may_go_first():
    scene = node(
        {"gpu": 2, "disk": 1},
        resting("a", ONE),
        awake("x", ONE, since=NOW - 1),
        awake("y", ONE, since=NOW - 3),
        awake("z", {"disk": 1}, since=NOW - 4),
        demands=(wants("a"), *(Demand(name, min_awake=5) for name in "xyz")),
    )
    assert Fifo()(scene).waits == (Wait("a", "y", Rule.MIN_AWAKE, NOW + 2),)


def test_a_busy_one_has_its_turn_by_the_policy():
    scene = node(ONE, resting("a", ONE), busy("x", ONE, since=NOW - 1), demands=(wants("a"), wants("x", 9)))
    (wait,) = Fair()(scene).waits
    assert (wait.holder, wait.rule) == ("x", Rule.TURN)
    assert wait.until > NOW


def test_who_is_woken_or_made_room_for_waits_for_no_rule():
    scene = node(ONE, resting("a", ONE), awake("x", ONE), demands=(wants("a"), Demand("x", min_awake=5)))
    for _ in range(2):
        decisions = Fifo()(scene)
        assert decisions.waits == ()
        scene = after(scene, decisions.actions)


def test_who_cannot_be_had_at_all_does_not_wait():
    scene = node(ONE, resting("a", ONE), awake("x", ONE), demands=(wants("a"), Demand("x", pinned=True)))
    decisions = Fifo()(scene)
    assert "x is pinned" in decisions.hopeless["a"]
    assert decisions.waits == ()


def test_beside_others_one_that_never_goes_is_waited_for_last():
    scene = node(
        {"gpu": 2},
        resting("a", ONE),
        awake("x", ONE, since=NOW - 1),
        awake("y", ONE),
        demands=(wants("a"), Demand("x", min_awake=5), Demand("y", pinned=True)),
    )
    assert [each.holder for each in Fifo()(scene).waits] == ["x"]
