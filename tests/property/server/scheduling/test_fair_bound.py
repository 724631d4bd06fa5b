"""The promise of the policy fair: nobody waits longer for its model's turn than docs/scheduling.md proves."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_nodes import case, worst_share_of_bound


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_the_bound_holds_on_random_nodes_and_traces(first):
    shares = {seed: worst_share_of_bound(case(seed), seed) for seed in range(first, first + 50)}
    assert {seed: share for seed, share in shares.items() if share > 1 + 1e-9} == {}


@given(seed=st.integers(10**6, 10**12))
@settings(max_examples=60, deadline=None)
def test_the_bound_holds_wherever_one_looks(seed):
    assert worst_share_of_bound(case(seed), seed) <= 1 + 1e-9
