"""The sections that are about no single model."""

from __future__ import annotations

import pytest
from samples import faults, loaded, model


def test_the_node_may_be_said():
    node = loaded(resources={"host_memory": "64GiB", "gpus": {"0": "80GiB", "3": 5}}).resources
    assert node.host_memory == 64 << 30
    assert node.gpus == {0: 80 << 30, 3: 5}


def test_the_default_policy_is_fair():
    assert loaded().policy.policy_type == "fair"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"policy": {"policy_type": "cost-aware"}},
            "policy.policy_type: \"cost-aware\" is not one of 'fair', ",
        ),
        ({"policy": {"policy_type": "cost-aware"}}, "did you mean 'cost_aware'?"),
        ({"policy": {"max_wait_secs": 0}}, "policy.max_wait_secs: should be greater than 0"),
        (
            {"policy": {"max_wait_sec": 1}},
            "policy.max_wait_sec: unknown field; did you mean 'max_wait_secs'?",
        ),
        ({"policy": {"sleep_level": 1, "eviction": {}}}, "policy: sleep_level and eviction say the same"),
        ({"resources": {"gpus": {"x": 1}}}, "resources.gpus.x: should be a valid integer"),
        ({"resources": {"gpus": {"-1": 1}}}, "resources.gpus.-1: should be greater than or equal to 0"),
        ({"resources": {"gpus": {"0": None}}}, "resources.gpus.0: must be a number of bytes"),
        (
            {"resources": {"host_memory": 1, "host_memory_reserve": 1}},
            "resources: host_memory_reserve is taken off what is found",
        ),
        ({"metrics_port": -1}, "metrics_port: should be greater than or equal to 0"),
        ({"engines_at_exit": "kill"}, "engines_at_exit: \"kill\" is not one of 'sleep' or 'stop'"),
        ({"state_dir": "state"}, "state_dir: must be an absolute path"),
        (
            {"checkpoint": {"cuda_checkpoint_path": "../x"}},
            "checkpoint.cuda_checkpoint_path: must be a program's",
        ),
        ({"exclusive": {"g": "m"}}, "exclusive.g: should be"),
    ],
)
def test_a_wrong_value_is_refused_with_the_path_to_its_field(fields, expected):
    found = faults({"models": {"m": model()}} | fields)
    assert any(expected in fault for fault in found), found
