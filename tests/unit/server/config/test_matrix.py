"""Every pair of weights and process is possible with what it needs, or refused with the reason."""

from __future__ import annotations

from itertools import product

import pytest

from llmux.server._model import Eviction, Process, Weights
from llmux.server.config import _matrix
from llmux.server.config._matrix import MATRIX, Need, Possible, Refused

PAIRS = [Eviction(weights, process) for weights, process in product(Weights, Process)]

NEEDS = {
    ("retain", "keep_running"): set(),
    ("offload", "keep_running"): {Need.SLEEP_MODE, Need.GPU},
    ("discard", "keep_running"): {Need.SLEEP_MODE},
    ("retain", "cuda_suspend"): {Need.CUDA_DRIVER},
    ("offload", "cuda_suspend"): {Need.CUDA_DRIVER, Need.SLEEP_MODE, Need.GPU},
    ("discard", "cuda_suspend"): {Need.CUDA_DRIVER, Need.SLEEP_MODE},
    ("retain", "checkpoint"): {Need.CRIU},
    ("offload", "checkpoint"): {Need.CRIU, Need.SLEEP_MODE, Need.GPU},
    ("discard", "checkpoint"): {Need.CRIU, Need.SLEEP_MODE},
    ("retain", "stop"): None,
    ("offload", "stop"): None,
    ("discard", "stop"): set(),
}


def test_the_table_has_each_of_the_twelve_once():
    assert set(MATRIX) == set(PAIRS)
    assert len(PAIRS) == 12


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_each_is_possible_with_its_needs_or_refused_with_the_reason(pair):
    needs = NEEDS[pair.weights, pair.process]
    match MATRIX[pair]:
        case Possible(found):
            assert found == needs
            assert _matrix.never(pair) == ""
        case Refused(reason):
            assert needs is None
            assert f"weights '{pair.weights}' cannot go with process 'stop'" in reason
            assert _matrix.never(pair) == reason


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_where_nothing_is_missing_the_possible_ones_lack_nothing(pair):
    assert bool(_matrix.lack(pair, {})) == isinstance(MATRIX[pair], Refused)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_where_all_is_missing_only_what_needs_nothing_is_left(pair):
    lack = _matrix.lack(pair, {need: f"no {need} here" for need in Need})
    assert bool(lack) == (NEEDS[pair.weights, pair.process] != set())
    for need in NEEDS[pair.weights, pair.process] or ():
        assert f"no {need} here; use " in lack


def test_every_short_form_can_be_done_somewhere():
    assert [_matrix.never(each) for each in _matrix.SLEEP_LEVELS.values()] == [""] * 5
