"""What engines on several GPUs are started with so that they can leave them, and what is refused."""

from __future__ import annotations

import pytest
from samples import faults, loaded, model, one, several

from llmux.server import config
from llmux.server._model import Eviction, Process, Weights
from llmux.server.config._ranks import unprepared

TWO = ["--tensor-parallel-size", "2"]
SUSPEND = {"weights": "discard", "process": "cuda_suspend"}
WARM = {"weights": "discard", "process": "keep_running"}
ALL_VARIABLES = {
    "NCCL_P2P_DISABLE": "1",
    "NCCL_NVLS_ENABLE": "0",
    "NCCL_SHM_DISABLE": "1",
    "VLLM_ALLREDUCE_USE_SYMM_MEM": "0",
}
ALL_SWITCHES = ("--disable-custom-all-reduce", "--enforce-eager")


def settings(**fields):
    found = config.rank_settings(one(**{"extra_args": TWO} | fields))
    return dict(found.env), found.arguments


@pytest.mark.parametrize(
    "fields",
    [
        {},  # the default eviction goes to disk
        {"eviction": SUSPEND},
        {"eviction": {"weights": "retain", "process": "checkpoint"}},
        {"eviction": WARM | {"escalate": ["checkpoint"]}},
        {"eviction": WARM, "ladder": {"deepen_after": 60}},
        {"extra_args": ["-pp", "2"]},
        {"extra_args": [], "resources": {"tensor_parallel_size": 2}},
    ],
)
def test_ranks_that_are_to_leave_their_gpus_are_started_for_it(fields):
    assert settings(**fields) == (ALL_VARIABLES, ALL_SWITCHES)


@pytest.mark.parametrize(
    "fields",
    [
        {"extra_args": []},
        {"extra_args": [], "resources": {"gpus": 2}, "replicas": 2},
        {"eviction": WARM},
        {"eviction": {"process": "stop"}},
        {"nccl": "as_is"},
        {"engine": "tiny"},
        {"engine": "llama.cpp", "eviction": {"weights": "retain", "process": "checkpoint"}},
    ],
)
def test_others_are_started_as_ever(fields):
    assert settings(**fields) == ({}, ())


def test_what_the_user_has_said_already_is_not_said_again():
    variables, switches = settings(
        extra_args=[*TWO, "--enforce_eager"], env={"NCCL_P2P_DISABLE": "1", "OTHER": "x"}
    )
    assert variables == {name: value for name, value in ALL_VARIABLES.items() if name != "NCCL_P2P_DISABLE"}
    assert switches == ("--disable-custom-all-reduce",)


def test_nccls_shared_memory_stays_where_it_is_kept_in_files():
    variables, _ = settings(env={"NCCL_CUMEM_HOST_ENABLE": "0", "NCCL_SHM_DISABLE": "0"})
    assert variables == {name: value for name, value in ALL_VARIABLES.items() if name != "NCCL_SHM_DISABLE"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"env": {"NCCL_P2P_DISABLE": "0"}},
            (
                "models.m.env.NCCL_P2P_DISABLE: '0' keeps the 2 ranks on their GPUs, and its eviction wants them off; "
                'say "1" or leave it out, or say "nccl": "as_is" to try it all the same'
            ),
        ),
        ({"env": {"NCCL_NVLS_ENABLE": "2"}}, "models.m.env.NCCL_NVLS_ENABLE: '2' keeps"),
        ({"env": {"NCCL_SHM_DISABLE": "0"}}, "models.m.env.NCCL_SHM_DISABLE: '0' keeps"),
        (
            {"env": {"NCCL_SHM_DISABLE": "0", "NCCL_CUMEM_HOST_ENABLE": "1"}},
            "models.m.env.NCCL_SHM_DISABLE: '0' keeps",
        ),
        (
            {"env": {"VLLM_ALLREDUCE_USE_SYMM_MEM": "1"}},
            "models.m.env.VLLM_ALLREDUCE_USE_SYMM_MEM: '1' keeps",
        ),
        (
            {"extra_args": [*TWO, "--no-enforce-eager"]},
            (
                "models.m.extra_args: --no-enforce-eager keeps the 2 ranks on their GPUs, and its eviction wants them off; "
                'leave it out, or say "nccl": "as_is"'
            ),
        ),
        (
            {"extra_args": [*TWO, "--disable-custom-all-reduce", "--no_disable_custom_all_reduce"]},
            "models.m.extra_args: --no-disable-custom-all-reduce keeps",
        ),
        (
            {"engine": "sglang", "extra_args": ["--tp-size", "4"], "eviction": SUSPEND},
            (
                "models.m.eviction: what SGLang with 4 ranks needs so that they can leave their GPUs, nobody has reported; "
                'use process "keep_running" or "stop", or say "nccl": "as_is" to try'
            ),
        ),
        (
            {"engine": "command", "command": ["serve"], "eviction": WARM | {"escalate": ["checkpoint"]}},
            "models.m.eviction: what a command with 2 ranks needs",
        ),
    ],
)
def test_what_keeps_them_there_is_refused(fields, expected):
    (fault,) = faults({"models": {"m": model(**{"extra_args": TWO} | fields)}})
    assert fault.startswith(expected)


@pytest.mark.parametrize(
    "fields",
    [
        {"env": {"NCCL_P2P_DISABLE": "0"}, "eviction": WARM},
        {"env": {"NCCL_P2P_DISABLE": "0"}, "nccl": "as_is"},
        {"env": {"NCCL_P2P_DISABLE": "0"}, "extra_args": []},
        {"engine": "sglang", "nccl": "as_is"},
        {"engine": "sglang", "eviction": {"process": "stop"}},
        {"extra_args": [*TWO, "--no-enforce-eager", "--enforce-eager"]},
    ],
)
def test_what_does_not_is_let_be(fields):
    assert one(**{"extra_args": TWO} | fields).ranks in {1, 2}


def test_engines_of_which_nobody_knows_what_they_need_keep_running_where_nobody_says_how_they_sleep():
    def slept(engine, **top):
        found = loaded(models={"m": model(extra_args=["--tp", "2"]) | engine}, **top).models["m"].eviction
        return found.weights, found.process, found.escalate

    sglang, command = {"engine": "sglang"}, {"engine": "command", "command": ["serve"]}
    assert slept(sglang) == slept(command) == ("discard", "keep_running", ())
    assert slept(sglang | {"nccl": "as_is"}) == ("discard", "checkpoint", ())
    for_all = {"weights": "retain", "process": "cuda_suspend", "escalate": ["checkpoint", "stop"]}
    assert slept(sglang, policy={"eviction": for_all}) == ("retain", "keep_running", ("stop",))


def test_every_fault_of_every_model_is_named():
    wrong = {"extra_args": [*TWO, "--no-enforce-eager"], "env": {"NCCL_P2P_DISABLE": "0"}}
    found = faults({"models": several(a=wrong, b=wrong)})
    assert [fault.partition(": ")[0] for fault in found] == [
        "models.a.env.NCCL_P2P_DISABLE",
        "models.a.extra_args",
        "models.b.env.NCCL_P2P_DISABLE",
        "models.b.extra_args",
    ]


def test_one_that_was_not_started_for_it_cannot_be_asked_for_it():
    warm, as_is = one(extra_args=TWO, eviction=WARM), one(extra_args=TWO, eviction=WARM, nccl="as_is")
    to_disk, stop = (Eviction(Weights.DISCARD, each) for each in (Process.CHECKPOINT, Process.STOP))
    assert unprepared(to_disk, warm).startswith(
        "its 2 ranks were not started so that they can leave their GPUs"
    )
    assert 'say "process": "checkpoint" in its eviction' in unprepared(to_disk, warm)
    assert (
        unprepared(to_disk, as_is) == unprepared(stop, warm) == unprepared(to_disk, one(eviction=WARM)) == ""
    )
    assert unprepared(to_disk, one(extra_args=TWO)) == ""
    assert unprepared(to_disk, one(extra_args=TWO, engine="sglang")).startswith(
        "what SGLang with 2 ranks needs"
    )
