import math

from llmux.server.scheduling.account import Account


def test_awake_time_counts_for_those_who_were_awake():
    account = Account(half_life=1e9).until(10, ["a"]).until(14, ["a", "b"])
    assert math.isclose(account.of("a"), 14, rel_tol=1e-6)
    assert math.isclose(account.of("b"), 4, rel_tol=1e-6)
    assert account.of("c") == 0


def test_a_second_counts_half_after_the_half_life():
    had = Account(half_life=60).until(1, ["a"])
    assert math.isclose(had.until(61, []).of("a"), had.of("a") / 2)


def test_one_who_is_always_awake_comes_to_a_limit():
    account = Account(half_life=60).until(100_000, ["a"])
    assert math.isclose(account.of("a"), 60 / math.log(2))


def test_many_small_steps_are_as_good_as_one():
    account = Account(half_life=7)
    for second in range(1, 31):
        account = account.until(second, ["a"])
    assert math.isclose(account.of("a"), Account(half_life=7).until(30, ["a"]).of("a"))


def test_a_clock_that_goes_back_takes_nothing_away():
    account = Account().until(10, ["a"])
    assert account.until(5, ["a"]) == account
