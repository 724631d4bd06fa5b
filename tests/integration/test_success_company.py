"""B isn't empty when the model wakes: another model serves, logs have grown, a failed restore has left things behind."""

from __future__ import annotations

import pytest
from proof.bench import MODEL, Bench, Model, Settings
from proof.story import check_restored, put_to_sleep, wake_and_check

pytestmark = pytest.mark.docker

OTHER = "another"
TWO = Settings(models=(Model(), Model(OTHER, port=8002)))
SETTINGS = Settings()
CONTAINERS_SHM = Settings(models=(Model(fields={"isolation": {"shm": False}}),))


def test_another_model_is_awake_at_that_moment(desk: Bench, asleep_on) -> None:
    sleeper = asleep_on(desk, TWO)
    with desk.node("b", TWO) as b:
        answer = b.llmux.chat(OTHER)
        other = b.identity(OTHER)
        wake_and_check(b, sleeper)
        assert b.llmux.chat(OTHER) == answer
        assert b.identity(OTHER) == other


def test_both_models_sleep_in_a_and_wake_in_b(desk: Bench) -> None:
    with desk.node("a", TWO) as a:
        sleepers = [put_to_sleep(a, MODEL), put_to_sleep(a, OTHER)]
    with desk.node("b", TWO) as b:
        for sleeper in sleepers:
            wake_and_check(b, sleeper)
        for sleeper in sleepers:
            check_restored(b, sleeper)
