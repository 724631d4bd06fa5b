"""Whose a GPU's memory is, and where that is not known."""

from __future__ import annotations

import pytest

from llmux.server.gpus._seen import Gpu, User, others, shares

A, B = {10, 11}, {20}


def gpu(index, *users):
    return Gpu(index, f"GPU-{index}", "x", 100, 60, tuple(User(*each) for each in users))


def test_what_the_processes_of_a_tree_have_is_summed_by_gpu():
    gpus = (gpu(0, (10, 5), (11, 6), (20, 7)), gpu(1, (11, 8), (30, 9)))
    assert shares(gpus, {"a": A, "b": B}, {10, 11, 20, 30}) == {"a": {0: 11, 1: 8}, "b": {0: 7}}
    assert others(gpus, A | B) == {0: 0, 1: 9}


@pytest.mark.parametrize("here", [{30}, set()])
def test_an_engine_without_any_has_none_only_where_all_processes_are_seen(here):
    known = shares((gpu(0, (30, 9)),), {"a": A}, here)
    assert known == {"a": {} if here else None}


def test_where_one_is_found_its_ids_are_ours_whoever_else_there_is():
    assert shares((gpu(0, (10, 5), (30, 9)),), {"a": A}, {10}) == {"a": {0: 5}}


def test_memory_that_is_not_told_is_not_known():
    gpus = (gpu(0, (10, None), (30, None)), Gpu(1, "GPU-1", "x", 100, 60, None))
    assert shares(gpus, {"a": A, "b": B}, {10, 30}) == {"a": None, "b": None}
    assert others(gpus, A) == {0: None, 1: None}
