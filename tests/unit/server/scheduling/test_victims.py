from llmux.server.scheduling.snapshot import Demand
from llmux.server.scheduling.victims import Loss, choose, deeper_sleeper, sleeper
from scenes import COSTS, NOW, awake, busy, resting, wants


def _sleeper(replica, demand=None):
    return sleeper(replica, demand or Demand(replica.model), NOW)


def _chosen(need, room, *victims):
    found = choose(need, room, victims)
    return None if found is None else {v.replica.name for v in found}


def test_nobody_goes_for_what_fits():
    assert _chosen({"gpu": 1}, {"gpu": 1}, _sleeper(awake("a", {"gpu": 1}))) == set()


def test_an_idle_one_goes_before_a_busy_one_and_the_longest_unused_first():
    old, young = awake("old", {"gpu": 1}), awake("young", {"gpu": 1}, last_used=NOW - 1)
    working = busy("working", {"gpu": 1})
    assert _chosen({"gpu": 1}, {"gpu": 0}, *map(_sleeper, (working, young, old))) == {"old"}
    assert _chosen({"gpu": 3}, {"gpu": 0}, *map(_sleeper, (working, young, old))) == {
        "old",
        "young",
        "working",
    }


def test_two_idle_ones_go_before_one_busy_one_that_were_enough():
    idle = [awake(name, {"gpu": 1}) for name in "ab"]
    assert _chosen({"gpu": 2}, {"gpu": 0}, *map(_sleeper, (busy("c", {"gpu": 2}), *idle))) == {"a", "b"}


def test_one_that_is_enough_alone_goes_before_several_that_cost_more():
    small = [awake(name, {"gpu": 1}, last_used=NOW - 2) for name in "ab"]
    assert _chosen(
        {"gpu": 2}, {"gpu": 0}, *map(_sleeper, (awake("c", {"gpu": 2}, last_used=NOW - 1), *small))
    ) == {"c"}


def test_nobody_goes_who_turned_out_unnecessary():
    first, second = awake("a", {"gpu": 1}), awake("b", {"gpu": 3}, last_used=NOW - 1)
    assert _chosen({"gpu": 3}, {"gpu": 0}, *map(_sleeper, (first, second))) == {"b"}


def test_what_a_victim_takes_for_its_own_sleep_has_to_be_freed_too():
    offloads = awake("a", {"gpu": 1}, keeps={"memory": 2})
    asleep = resting("z", {"gpu": 1}, holds={"memory": 2}, deeper={})
    deeper = deeper_sleeper(asleep, Demand("z"), NOW)
    room = {"gpu": 0, "memory": 1}
    assert _chosen({"gpu": 1}, room, _sleeper(offloads)) is None
    assert _chosen({"gpu": 1}, room, _sleeper(offloads), deeper) == {"a", "z"}


def test_none_where_all_together_are_not_enough():
    assert _chosen({"gpu": 2}, {"gpu": 0}, _sleeper(awake("a", {"gpu": 1}))) is None


def test_room_claimed_in_vain_counts_only_where_it_is_wanted():
    assert _chosen({"gpu": 1}, {"gpu": 0, "memory": -9}, _sleeper(awake("a", {"gpu": 1}))) == {"a"}


def test_kinds_of_loss():
    a = awake("a", {})
    assert _sleeper(a).loss is Loss.IDLE
    assert _sleeper(a, Demand("a", wanted=True)).loss is Loss.WANTED
    assert _sleeper(busy("a", {})).loss is Loss.BUSY
    assert _sleeper(a, wants("a")).loss is Loss.BUSY
    bottom = resting("z", {})
    assert deeper_sleeper(bottom, Demand("z"), NOW) is None
    above = resting("z", {}, deeper={})
    assert deeper_sleeper(above, Demand("z"), NOW).loss is Loss.RESTING
    assert deeper_sleeper(above, wants("z"), NOW).loss is Loss.AWAITED


def test_a_sleep_to_the_bottom_of_the_ladder_gives_more():
    a = awake("a", {"memory": 4}, keeps={"memory": 3}, least={})
    assert sleeper(a, Demand("a"), NOW).gives == {"memory": 1}
    assert sleeper(a, Demand("a"), NOW, to_the_bottom=True).gives == {"memory": 4}


def test_the_least_value_per_byte_deepens_first():
    small = deeper_sleeper(
        resting("small", {}, holds={"memory": 1}, deeper={}, costs=COSTS), Demand("small"), NOW
    )
    large = deeper_sleeper(
        resting("large", {}, holds={"memory": 8}, deeper={}, costs=COSTS), Demand("large"), NOW
    )
    assert _chosen({"memory": 8}, {"memory": 0}, small, large) == {"large"}
