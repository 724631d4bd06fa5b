from dataclasses import replace

import pytest

from llmux.server.scheduling.hope import why_hopeless
from llmux.server.scheduling.snapshot import Demand, Phase
from scenes import awake, node, resting, wants

ONE = {"gpu": 1}


def test_says_what_the_node_has_too_little_of():
    big = resting("a", {"gpu": 2, "memory": 1})
    assert why_hopeless(node({"gpu": 1, "memory": 1}, big), big) == "it needs 2 of gpu where the node has 1"


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("awake", "place among those awake"),
        ("exclusive:large", "place in the group large"),
        ("gpu_memory:3", "memory of GPU 3"),
        ("host_memory", "host memory"),
    ],
)
def test_says_it_in_words(amount, words):
    want, holder = resting("a", {amount: 1}), awake("b", {amount: 1})
    pinned = node({amount: 1}, want, holder, demands=(wants("a"), Demand("b", pinned=True)))
    assert why_hopeless(pinned, want) == f"no {words} can be freed: b is pinned"
    big = resting("a", {amount: 2})
    assert why_hopeless(node({amount: 1}, big), big) == f"it needs 2 of {words} where the node has 1"


def test_says_who_does_not_make_room():
    want, holder = resting("a", ONE), awake("b", ONE)
    pinned = node(ONE, want, holder, demands=(wants("a"), Demand("b", pinned=True)))
    assert why_hopeless(pinned, want) == "no gpu can be freed: b is pinned"
    refused = node(ONE, want, replace(holder, sleep_refused=True), demands=(wants("a"),))
    assert why_hopeless(refused, want) == "no gpu can be freed: b could not be put to sleep"
    keeps = node(ONE, want, replace(holder, keeps=ONE), demands=(wants("a"),))
    assert why_hopeless(keeps, want) == "no gpu can be freed: b keeps it even asleep"


def test_there_is_hope_while_others_are_on_their_way_or_could_sleep_deeper():
    want = resting("a", ONE)
    for phase in (Phase.RISING, Phase.AWAKE, Phase.SINKING, Phase.DOWN):
        assert why_hopeless(node(ONE, want, replace(awake("b", ONE), phase=phase)), want) is None
    assert why_hopeless(node(ONE, want, resting("b", ONE, holds=ONE, deeper={})), want) is None
    assert why_hopeless(node(ONE, want, awake("b", ONE, keeps=ONE, least={})), want) is None
    assert why_hopeless(node(ONE, want, resting("b", ONE, holds=ONE)), want) is not None


def test_one_that_keeps_more_asleep_than_there_is_room_for_stays():
    want, holder = resting("a", ONE), awake("b", ONE, keeps={"disk": 3}, least={})
    says = "no gpu can be freed: b keeps more asleep than there is room for"
    assert why_hopeless(node({**ONE, "disk": 2}, want, holder), want) == says
    other = resting("c", ONE, holds={"disk": 1}, keeps={"disk": 1})
    assert why_hopeless(node({**ONE, "disk": 3}, want, holder, other), want) == says
    assert why_hopeless(node({**ONE, "disk": 4}, want, holder, other), want) is None
