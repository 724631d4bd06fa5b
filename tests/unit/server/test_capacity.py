"""What the node has, what each replica takes of it, and what can never fit."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from llmux.server import _capacity, config
from llmux.server._capacity import Found, Measured, Quantity
from llmux.server._model import Eviction, Process, Weights

GIB = 1 << 30


def found(host=64, disk=400, gpus=(80, 80)):
    return Found(
        Quantity(host * GIB, "the machine's memory"),
        Quantity(disk * GIB, "the space for /images"),
        {index: memory * GIB for index, memory in enumerate(gpus)},
        "" if gpus else "NVML Shared Library Not Found",
    )


def parsed(models, **top):
    models = {
        name: {"model_path": "x", "port": 8001 + 100 * index} | fields
        for index, (name, fields) in enumerate(models.items())
    }
    return config.parse(json.dumps({"models": models} | top))


def taking(**resources):
    return {"resources": resources}


# ---- the node ----


def test_what_is_found_less_a_reserve_is_there():
    assert _capacity.capacity(parsed({"m": {}}), found()) == {
        "host_memory": 62 * GIB,
        "disk": 390 * GIB,
        "gpu_memory:0": 80 * GIB,
        "gpu_memory:1": 80 * GIB,
    }


def test_a_small_machine_keeps_a_small_reserve():
    amounts = _capacity.capacity(parsed({"m": {}}), found(host=8, disk=20, gpus=()))
    assert amounts == {"host_memory": 7 * GIB, "disk": 19 * GIB}


def test_what_is_configured_wins():
    node = {"host_memory": "10GiB", "disk_reserve": "100GiB", "gpus": {"5": "24GiB"}}
    stated = parsed({"a": {}, "b": {}}, resources=node, max_awake=2, exclusive={"g": ["a", "b"]})
    assert _capacity.capacity(stated, found()) == {
        "host_memory": 10 * GIB,
        "disk": 300 * GIB,
        "gpu_memory:5": 24 * GIB,
        "exclusive:g": 1,
        "awake": 2,
    }


def with_lost(*indexes, gpus=(80, 80)):
    there = found(gpus=gpus)
    left = {index: memory for index, memory in there.gpus.items() if index not in indexes}
    lost = dict.fromkeys(indexes, "GPU is lost")
    return replace(there, gpus=left, lost=lost, no_gpu="GPU 0: GPU is lost")


def test_a_gpu_that_is_lost_is_counted_and_taken_last():
    node, one = with_lost(0), taking(gpus=1, gpu_memory_fraction=0.5)
    assert list(_capacity.capacity(parsed({"m": {}}), node).items())[2:] == [
        ("gpu_memory:0", 80 * GIB),
        ("gpu_memory:1", 80 * GIB),
    ]
    assert _capacity.placement(parsed({"m": one, "n": one}), node) == {"m": (1,), "n": (1,)}
    assert _capacity.told(parsed({"m": {}}), node)[2] == "GPUs: 0: 80 GiB, 1: 80 GiB (GPU 0: GPU is lost)"


def test_what_is_for_a_gpu_that_is_lost_is_no_fault():
    there = parsed({"m": taking(gpus=[0], gpu_memory="60GiB")})
    for node in (with_lost(0), with_lost(0, 1)):
        assert _capacity.faults(there, node) == ()
        assert _capacity.placement(there, node) == {"m": (0,)}


def test_the_node_is_told_with_its_sources():
    assert _capacity.told(parsed({"m": {}}), found(gpus=())) == (
        "host memory for engines: 62 GiB (the machine's memory, less 2 GiB)",
        "disk for checkpoints: 390 GiB (the space for /images, less 10 GiB)",
        "no GPU (NVML Shared Library Not Found)",
    )
    told = _capacity.told(parsed({"m": {}}, resources={"host_memory": 5}), found(gpus=(80, 24)))
    assert told[0] == "host memory for engines: 5 bytes (resources.host_memory)"
    assert told[2] == "GPUs: 0: 80 GiB, 1: 24 GiB"


# ---- placement ----


def test_without_gpus_nobody_has_one():
    assert _capacity.placement(parsed({"m": {}}), found(gpus=())) == {"m": ()}


def test_vllm_has_as_many_gpus_as_it_is_spread_over():
    models = {
        "one": {},
        "two": {"extra_args": ["-tp", "2"]},
        "tiny": {"engine": "tiny"},
        "four": {"extra_args": ["-tp", "2", "--pipeline-parallel-size", "2"]},
    }
    placed = _capacity.placement(parsed(models), found(gpus=(80,) * 4))
    assert {name: len(gpus) for name, gpus in placed.items()} == {"one": 1, "two": 2, "tiny": 0, "four": 4}


def test_counts_are_spread_over_the_gpus():
    half = taking(gpu_memory_fraction=0.5)
    placed = _capacity.placement(parsed(dict.fromkeys("abcd", half)), found())
    assert sorted(placed.values()) == [(0,), (0,), (1,), (1,)]


def test_the_largest_choose_first_and_what_is_said_stays():
    models = {
        "small": taking(gpu_memory="10GiB"),
        "large": taking(gpu_memory="70GiB"),
        "said": taking(gpus=[0], gpu_memory="20GiB"),
    }
    placed = _capacity.placement(parsed(models), found())
    assert placed == {"said": (0,), "large": (1,), "small": (0,)}


def test_replicas_have_gpus_of_their_own_where_there_are_enough():
    placed = _capacity.placement(parsed({"m": {"replicas": 2}}), found())
    assert placed == {"m": (0,), "m#2": (1,)}
    dealt = parsed({"m": {"replicas": 2} | taking(gpus=[1, 0])})
    assert _capacity.placement(dealt, found()) == {"m": (1,), "m#2": (0,)}
    shared = parsed({"m": {"replicas": 3} | taking(gpus=[1])})
    assert set(_capacity.placement(shared, found()).values()) == {(1,)}


# ---- what a replica takes ----


def asleep(model, measured=None, gpus=(80,), **top):
    stated = parsed({"m": model}, **top)
    sizes = _capacity.sizes(stated, found(gpus=gpus), {"m": measured or Measured()})["m"]
    return {str(process): sizes.asleep[process] for process in Process}


def awake(model, measured=None, gpus=(80,), **top):
    stated = parsed({"m": model}, **top)
    return _capacity.sizes(stated, found(gpus=gpus), {"m": measured or Measured()})["m"].awake


def test_awake_it_takes_what_it_says():
    said = taking(gpu_memory_fraction=0.25, host_memory="3GiB")
    assert awake(said) == {"awake": 1, "gpu_memory:0": 20 * GIB, "host_memory": 3 * GIB}


def test_vllm_takes_all_of_a_gpu_unless_its_arguments_say_less():
    assert awake({})["gpu_memory:0"] == 80 * GIB
    assert awake({"extra_args": ["--gpu-memory-utilization", "0.5"]})["gpu_memory:0"] == 40 * GIB


def test_what_is_measured_stands_in_for_what_is_not_said():
    measured = Measured(host_memory=5, host_memory_asleep=3, disk=2)
    assert "host_memory" not in awake({})
    assert awake({}, measured)["host_memory"] == 5
    assert awake(taking(host_memory=7), measured)["host_memory"] == 7
    found_asleep = asleep({}, measured)
    assert found_asleep["keep_running"]["host_memory"] == 3
    assert found_asleep["checkpoint"] == {"disk": 2}


MEASURED = Measured(host_memory=4 * GIB, gpu_memory_asleep=GIB)


@pytest.mark.parametrize(
    ("weights", "keep_running", "cuda_suspend", "checkpoint"),
    [
        ("retain", {"gpu_memory:0": 80, "host_memory": 4}, {"host_memory": 84}, {"disk": 84}),
        ("offload", {"gpu_memory:0": 1, "host_memory": 84}, {"host_memory": 84}, {"disk": 84}),
        ("discard", {"gpu_memory:0": 1, "host_memory": 4}, {"host_memory": 5}, {"disk": 4}),
    ],
)
def test_asleep_it_keeps_what_its_eviction_leaves(weights, keep_running, cuda_suspend, checkpoint):
    kept = asleep({"eviction": {"weights": weights, "process": "keep_running"}}, MEASURED)
    expected = {
        "keep_running": keep_running,
        "cuda_suspend": cuda_suspend,
        "checkpoint": checkpoint,
        "stop": {},
    }
    in_gib = {
        process: {name: amount // GIB for name, amount in amounts.items()}
        for process, amounts in kept.items()
    }
    assert in_gib == expected


def test_nothing_known_is_nothing_taken():
    kept = asleep({}, gpus=())
    assert kept == {"keep_running": {}, "cuda_suspend": {}, "checkpoint": {}, "stop": {}}


def test_a_group_is_had_by_one_of_its_models():
    stated = parsed({"a": {}, "b": {}, "c": {}}, exclusive={"g": ["a", "b"], "h": ["b", "c"]})
    sizes = _capacity.sizes(stated, found(gpus=()), {})
    assert {name: set(each.awake) - {"awake"} for name, each in sizes.items()} == {
        "a": {"exclusive:g"},
        "b": {"exclusive:g", "exclusive:h"},
        "c": {"exclusive:h"},
    }


def test_every_replica_has_its_own():
    sizes = _capacity.sizes(parsed({"m": {"replicas": 2}}), found(), {"m#2": Measured(host_memory=1)})
    assert sizes["m#2"].awake == {"awake": 1, "gpu_memory:1": 80 * GIB, "host_memory": 1}
    assert "host_memory" not in sizes["m"].awake


def test_its_sizes_go_by_how_deep_it_sleeps():
    sizes = _capacity.sizes(parsed({"m": taking(host_memory=5)}), found(gpus=()), {})["m"]
    assert sizes.when(Eviction(Weights.DISCARD, Process.CHECKPOINT)) == {"disk": 5}
    assert sizes.when(Eviction(Weights.DISCARD, Process.STOP)) == {}


# ---- what can never fit ----


@pytest.mark.parametrize(
    ("models", "node", "expected"),
    [
        (
            {"m": taking(host_memory="100GiB")},
            {},
            (
                "models.m.resources.host_memory: awake it takes 100 GiB of host memory, and there are 62 GiB for engines; "
                "give it less, or say more in resources.host_memory if there is more"
            ),
        ),
        (
            {"m": taking(gpu_memory="100GiB")},
            {},
            "models.m.resources.gpu_memory: awake it takes 100 GiB of memory of GPU 0, and there are 80 GiB",
        ),
        (
            {"m": taking(disk="1TiB")},
            {},
            "models.m.resources.disk: asleep it takes 1 TiB of disk, and there are 390",
        ),
        (
            {
                "m": {"eviction": {"process": "keep_running"}}
                | taking(host_memory=1, host_memory_asleep="99GiB")
            },
            {},
            "models.m.resources.host_memory_asleep: asleep it takes 99 GiB of host memory",
        ),
        (
            {"m": taking(gpus=[0, 7])},
            {},
            "models.m.resources.gpus: GPU 7 is not here: this node has GPUs 0, 1; name others, or say how many",
        ),
        ({"m": taking(gpus=3)}, {}, "models.m.resources.gpus: needs 3, and this node has GPUs 0, 1"),
        (
            {"m": {"extra_args": ["-tp", "4"]}},
            {},
            "models.m.resources.gpus: needs 4, and this node has GPUs 0, 1",
        ),
        (
            {"m": taking(gpus=1)},
            {"gpus": ()},
            "models.m.resources.gpus: needs 1, and this node has no GPU (NVML Shared Library Not Found)",
        ),
        (
            {
                "a": {"pinned": True} | taking(host_memory="40GiB"),
                "b": {"pinned": True} | taking(host_memory="30GiB"),
            },
            {"gpus": ()},
            "models: a, b are pinned and do not fit together: 8 GiB of host_memory is lacking",
        ),
        (
            {"a": {"pinned": True} | taking(host_memory="40GiB"), "b": taking(host_memory="30GiB")},
            {"gpus": ()},
            "models.b: could never be awake beside what is pinned (a): 8 GiB of host_memory is lacking",
        ),
    ],
)
def test_what_can_never_fit_is_named_with_its_field(models, node, expected):
    (fault,) = _capacity.faults(parsed(models), found(**node))
    assert fault.startswith(expected)


def test_all_come_together():
    models = {"a": taking(host_memory="100GiB", gpu_memory="1TiB"), "b": taking(host_memory="100GiB")}
    assert len(_capacity.faults(parsed(models), found())) == 3
    models["c"] = taking(gpus=[9])
    assert len(_capacity.faults(parsed(models), found())) == 4


def test_twenty_models_that_fit_one_by_one_are_fine():
    models = {f"m{number}": taking(host_memory="60GiB") for number in range(20)}
    assert _capacity.faults(parsed(models), found(gpus=())) == ()


def test_a_measured_model_is_judged_too():
    fault = _capacity.faults(parsed({"m": {}}), found(gpus=()), {"m": Measured(host_memory=99 * GIB)})[0]
    assert fault.startswith("models.m.resources.host_memory: awake it takes 99 GiB")


def test_a_remote_model_takes_nothing_and_keeps_nobody_out():
    upstream = {"model_path": "x", "engine": "remote", "remote": {"url": "https://x/v1"}}
    stated = config.parse(
        json.dumps({"models": {"far": upstream, "near": {"model_path": "x", "port": 1}}, "max_awake": 1})
    )
    sizes = _capacity.sizes(stated, found(), {"far": Measured(host_memory=7)})
    assert sizes["far"].awake == sizes["far"].when(Eviction(Weights.DISCARD, Process.STOP)) == {}
    assert _capacity.faults(stated, found()) == ()


def test_sglang_takes_gpus_by_its_own_options_and_llama_cpp_those_that_are_said():
    stated = parsed(
        {
            "s": {"engine": "sglang", "extra_args": ["--tp-size", "2", "--mem-fraction-static=0.5"]},
            "l": {"engine": "llama.cpp"},
            "t": {"engine": "llama.cpp", "resources": {"gpus": 1, "gpu_memory": 3 * GIB}},
        }
    )
    sizes = _capacity.sizes(stated, found(), {})
    assert sizes["s"].awake == {"awake": 1, "gpu_memory:0": 40 * GIB, "gpu_memory:1": 40 * GIB}
    assert sizes["l"].awake == {"awake": 1}
    assert [key for key in sizes["t"].awake if key.startswith("gpu")] != []


# ---- GPUs that CUDA_VISIBLE_DEVICES of a model names ----

UUIDS = {0: "GPU-8932f937", 1: "GPU-8932aaaa"}


def seeing(visible, **fields):
    return {"env": {"CUDA_VISIBLE_DEVICES": visible}} | fields


@pytest.mark.parametrize("visible", ["1", "GPU-8932aaaa", "GPU-8932a"])
def test_a_model_takes_of_the_gpus_that_its_environment_names(visible):
    stated, node = parsed({"m": seeing(visible), "n": {}}), replace(found(), uuids=UUIDS)
    assert _capacity.placement(stated, node) == {"m": (1,), "n": (0,)}
    assert _capacity.faults(stated, node) == ()
    env = stated.models["m"].of_replica(0, (1,)).env
    assert env == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}


@pytest.mark.parametrize(
    ("visible", "fault"),
    [
        ("7", "GPU 7 is not here: this node has GPUs 0, 1"),
        ("GPU-8932", "GPU-8932 is the beginning of no GPU's UUID here, or of several"),
        ("GPU-8932a,GPU-77", "GPU-77 is the beginning of no GPU's UUID here"),
    ],
)
def test_gpus_that_are_not_here_are_named_by_their_variable(visible, fault):
    (told,) = _capacity.faults(parsed({"m": seeing(visible)}), replace(found(), uuids=UUIDS))
    assert told.startswith(f"models.m.env.CUDA_VISIBLE_DEVICES: {fault}")


def test_what_cannot_be_known_is_left_to_the_engine():
    stated = parsed({"m": seeing("GPU-77")})
    lost = replace(found(), uuids={0: UUIDS[0]}, lost={1: "GPU is lost"})
    for node in (found(), lost, found(gpus=())):
        assert _capacity.placement(stated, node) == {"m": ()}
        assert _capacity.faults(stated, node) == ()
