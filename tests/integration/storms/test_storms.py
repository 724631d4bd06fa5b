"""Each storm in its short form: no answer is lost, doubled, crossed or cut, and nothing is left behind."""

from __future__ import annotations

import pytest

from proof.bench import Bench
from storms.catalogue import STORMS
from storms.storm import break_loose

pytestmark = pytest.mark.docker


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", STORMS)
def test_each_request_gets_its_own_whole_answer_or_an_honest_error(desk: Bench, name: str) -> None:
    outcome = break_loose(STORMS[name], desk, STORMS[name].short)
    assert outcome.faults() == []
