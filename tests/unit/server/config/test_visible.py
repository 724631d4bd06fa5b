"""A CUDA_VISIBLE_DEVICES that means something else to CUDA than to llmux is refused by its field."""

from __future__ import annotations

import pytest
from samples import faults, model, one

VISIBLE = "CUDA_VISIBLE_DEVICES"
PART = "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"
STAYS = {"eviction": {"weights": "discard", "process": "keep_running"}, "ladder": {"stop_after": 60}}


def naming(visible, order=None, **fields):
    env = {VISIBLE: visible} | ({"CUDA_DEVICE_ORDER": order} if order else {})
    return model(env=env, **fields)


@pytest.mark.parametrize(
    ("visible", "fields"),
    [
        ("1", {}),
        ("1,0", {"resources": {"gpus": [1, 0]}}),
        ("1,0", {"resources": {"gpus": 2}}),
        ("GPU-8932f937", {"resources": {"gpus": 1}}),
        ("GPU-8932f937", {"order": "FASTEST_FIRST"}),
        ("1", {"order": "PCI_BUS_ID"}),
        ("1", {"resources": {"gpus": 0}}),
        ("-1", {}),
        (PART, STAYS),
        (PART, STAYS | {"resources": {"gpus": 0}}),
    ],
)
def test_what_is_clear_is_taken(visible, fields):
    assert one(**naming(visible, **fields)).env[VISIBLE] == visible


@pytest.mark.parametrize(
    ("visible", "fields", "fault"),
    [
        ("all", {}, f"models.m.env.{VISIBLE}: 'all' is no GPU"),
        ("0,0", {}, f"models.m.env.{VISIBLE}: names a GPU twice"),
        ("0", {"order": "FASTEST_FIRST"}, "models.m.env.CUDA_DEVICE_ORDER: by FASTEST_FIRST an index may be"),
        ("0", {"resources": {"gpus": [1]}}, f"models.m.env.{VISIBLE}: says otherwise"),
        ("GPU-8", {"resources": {"gpus": [1]}}, f"models.m.env.{VISIBLE}: says otherwise, or in other words"),
        ("0", {"resources": {"gpus": 2}}, f"models.m.env.{VISIBLE}: names 1, and resources.gpus says 2"),
        (
            PART,
            {},
            f"models.m.env.{VISIBLE}: names parts of GPUs (MIG), which the driver takes no process off",
        ),
        (PART, STAYS | {"ladder": {"deepen_after": 5}}, f"models.m.env.{VISIBLE}: names parts"),
        (
            PART,
            STAYS | {"resources": {"gpus": 1}},
            f"models.m.env.{VISIBLE}: names parts of GPUs (MIG), and resources.gpus",
        ),
    ],
)
def test_what_is_not_is_refused_by_its_field(visible, fields, fault):
    (found,) = faults({"models": {"m": naming(visible, **fields)}})
    assert found.startswith(fault)


def test_it_is_read_as_resources_gpus_where_gpus_are_counted():
    here = {0: "GPU-00", 1: "GPU-11"}
    assert one(env={VISIBLE: "1"}).gpus_of_replica(0, here) == (1,)
    assert one(env={VISIBLE: "GPU-1"}).gpus_of_replica(0, here) == (1,)
    dealt = one(env={VISIBLE: "1,0"}, replicas=2)
    assert [dealt.gpus_of_replica(number, here) for number in range(2)] == [(1,), (0,)]
    for none in ("-1", PART, "GPU-7"):
        assert one(**STAYS, env={VISIBLE: none}).gpu_count(here) == 0
    command = {"engine": "command", "command": ["x"], "env": {VISIBLE: "1"}}
    assert one(**command).gpu_count(here) == 0
    assert one(**command, resources={"gpus": 1}).gpus_of_replica(0, here) == (1,)
    assert one(env={VISIBLE: "1"}).gpu_count({}) == 0
