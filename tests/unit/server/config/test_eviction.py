"""How deep a model sleeps, what is tried after a failure, and the rungs of its ladder."""

from __future__ import annotations

import pytest
from samples import faults, model, one

from llmux.server._model import Eviction, Process, Weights

MEMORY = {"weights": "offload", "process": "keep_running"}


@pytest.mark.parametrize("weights", list(Weights))
@pytest.mark.parametrize("process", list(Process))
def test_each_of_the_twelve_is_read_or_refused(weights, process):
    stated = {"weights": weights.value, "process": process.value}
    if process is Process.STOP and weights is not Weights.DISCARD:
        (fault,) = faults({"models": {"m": model(eviction=stated)}})
        assert fault.startswith("models.m.eviction: an engine that is stopped keeps no weights")
    else:
        assert one(eviction=stated).eviction.eviction() == Eviction(weights, process)


def test_a_failed_sleep_escalates_as_it_is_said():
    escalating = one(eviction=MEMORY | {"escalate": ["checkpoint", "stop"]}).eviction
    assert escalating.escalations() == (
        Eviction(Weights.OFFLOAD, Process.CHECKPOINT),
        Eviction(Weights.DISCARD, Process.STOP),
    )
    assert one().eviction.escalations() == ()


@pytest.mark.parametrize(
    ("process", "escalate", "words"),
    [
        ("checkpoint", ["keep_running"], "'keep_running' is not deeper than 'checkpoint'"),
        ("keep_running", ["stop", "checkpoint"], "'checkpoint' is not deeper than 'stop'"),
        ("keep_running", ["keep_running"], "'keep_running' is not deeper than 'keep_running'"),
    ],
)
def test_an_escalation_that_goes_up_is_refused(process, escalate, words):
    (fault,) = faults({"models": {"m": model(eviction={"process": process, "escalate": escalate})}})
    assert fault.startswith("models.m.eviction: escalate goes deeper step by step")
    assert words in fault


def steps(**fields):
    return [(str(rung.eviction.process), rung.after) for rung in one(**fields).rungs()]


def test_the_rungs_go_down_to_stopped():
    ladder = {"deepen_after": 600, "stop_after": 86400}
    assert steps(eviction=MEMORY, ladder=ladder) == [
        ("keep_running", 0),
        ("checkpoint", 600),
        ("stop", 86400),
    ]
    assert steps(ladder={"stop_after": 5}) == [("checkpoint", 0), ("stop", 5)]


def test_without_a_ladder_only_want_of_room_leads_down():
    assert steps(eviction=MEMORY) == [("keep_running", 0), ("checkpoint", None), ("stop", None)]
    assert steps(eviction={"process": "stop"}) == [("stop", 0)]


def test_a_ladder_to_stopped_alone_makes_no_dump():
    assert steps(eviction=MEMORY, ladder={"stop_after": 60}) == [("keep_running", 0), ("stop", 60)]


def test_where_criu_cannot_work_no_rung_is_on_disk():
    found = one(eviction=MEMORY, ladder={"deepen_after": 60}).rungs(checkpoints=False)
    assert [rung.eviction.process for rung in found] == [Process.KEEP_RUNNING, Process.STOP]


@pytest.mark.parametrize(
    ("eviction", "ladder", "words"),
    [
        ({"process": "checkpoint"}, {"deepen_after": 60}, "deepen_after takes a model from memory to disk"),
        ({"process": "stop"}, {"stop_after": 60}, "stop_after ends an engine that still sleeps"),
        (MEMORY, {"deepen_after": 60, "stop_after": 60}, "stop_after (60 s) must be more than deepen_after"),
    ],
)
def test_a_ladder_with_nothing_below_it_is_refused(eviction, ladder, words):
    (fault,) = faults({"models": {"m": model(eviction=eviction, ladder=ladder)}})
    assert fault.startswith("models.m.ladder: ")
    assert words in fault
