"""What the top says for all models is in each model that does not say it itself."""

from __future__ import annotations

import pytest
from samples import loaded, model, one


def test_the_policys_eviction_is_each_models():
    stated = loaded(
        models={"a": model(), "b": model(port=8002, eviction={"process": "stop"})},
        policy={"eviction": {"weights": "offload", "process": "keep_running"}},
    )
    assert [each.eviction.process for each in stated.models.values()] == ["keep_running", "stop"]


@pytest.mark.parametrize(
    ("level", "weights", "process"),
    [
        (1, "offload", "keep_running"),
        (2, "discard", "keep_running"),
        (3, "retain", "cuda_suspend"),
        (4, "retain", "checkpoint"),
        (5, "discard", "stop"),
    ],
)
def test_a_sleep_level_is_an_eviction(level, weights, process):
    for eviction in (
        one(sleep_level=level).eviction,
        loaded(policy={"sleep_level": level}).models["m"].eviction,
    ):
        assert (eviction.weights, eviction.process) == (weights, process)


def test_the_policys_times_are_each_models():
    stated = loaded(
        models={"a": model(), "b": model(port=8002, min_awake=0, timeouts={"request": 7, "start": 8})},
        policy={"request_timeout_secs": 60, "min_active_secs": 9},
        startup_timeout_secs=1800,
    )
    a, b = stated.models.values()
    assert (a.timeouts.request, a.timeouts.start, a.min_awake) == (60, 1800, 9)
    assert (b.timeouts.request, b.timeouts.start, b.min_awake) == (7, 8, 0)


@pytest.mark.parametrize(
    ("fields", "policy", "seconds", "then"),
    [
        ({}, {}, 120, "end"),
        ({"timeouts": {"drain": 9}}, {}, 9, "give_up"),
        ({"drain": {"seconds": 5, "then": "wait"}}, {"drain_before_switch": False}, 5, "wait"),
        ({}, {"drain_before_switch": False}, 0, "end"),
        ({"timeouts": {"drain": 9}}, {"drain_before_switch": False}, 9, "give_up"),
    ],
)
def test_a_drain_is_as_the_nearest_says(fields, policy, seconds, then):
    drain = loaded(models={"m": model(**fields)}, policy=policy).models["m"].drain
    assert (drain.seconds, drain.then) == (seconds, then)


def test_the_program_at_the_top_is_each_models():
    stated = loaded(
        models={"a": model(), "b": model(port=8002, vllm_command=["python3", "-m", "vllm"])},
        vllm_command="/opt/vllm/bin/vllm",
    )
    a, b = stated.models.values()
    assert a.vllm_command == ("/opt/vllm/bin/vllm",)
    assert b.vllm_command == ("python3", "-m", "vllm")
