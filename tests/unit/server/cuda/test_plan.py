"""The order of the steps, for several processes wherever each is."""

import pytest

from llmux.server.cuda._plan import resume, suspend
from llmux.server.cuda._results import State
from llmux.server.cuda.errors import CudaStateIllegal, CudaStateLost

RUNNING, LOCKED, AWAY = State.RUNNING, State.LOCKED, State.CHECKPOINTED


def said(steps):
    return [f"{step.operation.value} {step.pid}" for step in steps]


def test_all_are_locked_before_one_is_checkpointed():
    assert said(suspend({1: RUNNING, 2: RUNNING})) == ["lock 1", "lock 2", "checkpoint 1", "checkpoint 2"]


def test_all_are_restored_before_one_is_unlocked_and_in_reverse():
    assert said(resume({1: AWAY, 2: AWAY})) == ["restore 2", "restore 1", "unlock 2", "unlock 1"]


def test_what_is_there_already_is_not_done_again():
    assert said(suspend({1: LOCKED, 2: AWAY, 3: RUNNING})) == ["lock 3", "checkpoint 1", "checkpoint 3"]
    assert said(resume({1: LOCKED, 2: AWAY, 3: RUNNING})) == ["restore 2", "unlock 2", "unlock 1"]
    assert not resume({1: RUNNING})


@pytest.mark.parametrize("plan", [suspend, resume])
def test_a_lost_process_and_one_that_somebody_works_on_are_refused(plan):
    with pytest.raises(CudaStateLost, match="process 2 is failed"):
        plan({1: RUNNING, 2: State.FAILED})
    for state in (State.CHECKPOINTING, State.RESTORING):
        with pytest.raises(CudaStateIllegal):
            plan({1: state})


def test_a_step_says_what_and_why():
    assert str(suspend({7: RUNNING})[1]) == "checkpoint 7 (all are locked)"
