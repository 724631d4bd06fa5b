from collections import Counter

import pytest

from llmux.server.simulate import generate

MIX = generate.Mix((("a", 3.0), ("b", 1.0)), 2.0)


def test_the_same_seed_makes_the_same_trace():
    one, same, other = (generate.poisson(MIX, generate.steady(1.0), 100, seed) for seed in (1, 1, 2))
    assert one == same != other


def test_rates_and_shares_are_what_was_asked_for():
    trace = generate.poisson(MIX, generate.steady(2.0), 5000, 1)
    assert len(trace) == pytest.approx(10_000, rel=0.05)
    count = Counter(request.model for request in trace)
    assert count["a"] / count["b"] == pytest.approx(3, rel=0.1)
    assert sum(request.seconds for request in trace) / len(trace) == pytest.approx(2, rel=0.05)
    assert [r.at for r in trace] == sorted(r.at for r in trace)
    assert trace[-1].at < 5000


def test_bursts_and_days():
    burst = generate.bursts(1.0, 10.0, every=100, lasting=10)
    assert [burst(at) for at in (0, 44, 46, 54, 56, 150)] == [1, 1, 10, 10, 1, 10]
    day = generate.diurnal(2.0, day=100)
    assert day(0) == pytest.approx(0.2)
    assert day(50) == pytest.approx(3.8)
    inside = sum(45 < request.at % 100 < 55 for request in generate.poisson(MIX, burst, 2000, 1))
    assert inside == pytest.approx(2000, rel=0.1)


def test_zipf_falls_with_the_rank():
    assert generate.zipf(3) == (("m1", 1.0), ("m2", 0.5), ("m3", pytest.approx(1 / 3)))
    assert [name for name, _ in generate.zipf(10)][:2] == ["m01", "m02"]
    assert {weight for _, weight in generate.zipf(5, 0)} == {1.0}


def test_alternation_and_merging():
    one = generate.alternation(("a", "b"), 2.0, 7.0)
    assert [(r.at, r.model) for r in one] == [(0, "a"), (2, "b"), (4, "a"), (6, "b")]
    both = generate.merged(one, generate.alternation(("c",), 3.0, 4.0))
    assert [r.model for r in both] == ["a", "c", "b", "c", "a", "b"]
