from llmux.server.scheduling import amounts


def test_sums_and_differences_go_name_by_name():
    assert amounts.plus({"a": 1}, {"a": 2, "b": 3}) == {"a": 3, "b": 3}
    assert amounts.minus({"a": 1}, {"a": 2, "b": 3}) == {"a": -1, "b": -3}
    assert amounts.more({"a": 5, "b": 1}, {"a": 2, "b": 1, "c": 9}) == {"a": 3}


def test_what_is_not_named_is_not_bounded():
    assert amounts.fits({"a": 10**12}, {"b": 0})
    assert amounts.short({"a": 3, "b": 1}, {"a": 1, "b": 1}) == {"a": 2}


def test_nothing_wanted_is_not_lacking_where_too_much_is_held():
    assert amounts.fits({"a": 0}, {"a": -5})


def test_what_is_left_is_of_the_capacitys_own_names():
    assert amounts.left({"a": 5}, [{"a": 3, "b": 1}, {"a": 4}]) == {"a": -2}
