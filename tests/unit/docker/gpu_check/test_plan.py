"""Which cases run on a machine, and why the others do not."""

from dataclasses import replace

import pytest

from gpu_check._facts import Driver, Facts, GpuFact, Programs
from gpu_check._plan import GIB, Case, Options, plan

GPU = GpuFact("NVIDIA H100", "GPU-1", 80 * GIB)
DRIVER = Driver((GPU,), version="580.1", cuda=13000, checkpoint_api=True)
MISSING = Programs(
    no_python="no packages", no_torch="no torch", no_vllm="no vllm", no_criu="no criu", no_docker="no docker"
)
EVERYTHING = Programs("/p", "", "/t", "", "/v", "", "/criu", "", "/plugins", "/cuda-checkpoint", "/docker")
FACTS = Facts(DRIVER, EVERYTHING, root=True, host_memory=120 * GIB)


def why_not(facts, **options):
    return {each.case: each.why_not for each in plan(facts, Options(**options))}


def test_everything_runs_where_everything_is():
    two = replace(FACTS, driver=replace(DRIVER, gpus=(GPU, replace(GPU, uuid="GPU-2"))))
    assert set(why_not(two).values()) == {""}
    assert list(why_not(two)) == list(Case)


def test_a_bare_machine_runs_what_needs_the_driver_alone_and_says_what_is_missing():
    said = why_not(replace(FACTS, programs=MISSING))
    assert {case for case, reason in said.items() if not reason} == {Case.BANDWIDTH, Case.BARE}
    assert said[Case.TORCH] == "no torch"
    assert said[Case.TINY] == said[Case.SERVE_TINY] == "no packages"
    assert said[Case.SERVE_VLLM] == "no vllm"
    assert said[Case.CRIU] == said[Case.CRIU_PLUGIN] == "no criu"
    assert said[Case.CONTAINERS] == "no docker"
    assert said[Case.NVIDIA] == "NVIDIA's cuda-checkpoint is not on PATH"
    assert said[Case.DEVICE_MAP] == "needs two GPUs"


def test_without_a_gpu_nothing_is_planned():
    assert plan(Facts(Driver(no_gpu="none")), Options()) == ()


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        ({"checkpoint_api": False, "version": "535.1"}, "driver 535.1 has no checkpoint API"),
        ({"no_nvml": "no library"}, "NVML does not say what is on the GPU: no library"),
    ],
)
def test_what_the_driver_lacks_leaves_the_bandwidth(driver, reason):
    said = why_not(replace(FACTS, driver=replace(DRIVER, **driver)))
    assert said.pop(Case.BANDWIDTH) == ""
    assert all(reason in each for each in said.values())


def test_a_device_map_needs_two_alike_and_a_driver_that_takes_it():
    other = replace(GPU, uuid="GPU-2")
    unlike = replace(FACTS, driver=replace(DRIVER, gpus=(GPU, replace(other, name="NVIDIA A100"))))
    assert why_not(unlike)[Case.DEVICE_MAP] == "needs two GPUs of one kind"
    old = replace(FACTS, driver=replace(DRIVER, gpus=(GPU, other), cuda=12080))
    assert why_not(old)[Case.DEVICE_MAP] == "needs driver 580 or newer"


def test_a_plugin_that_is_not_found_leaves_the_dump_without_it():
    said = why_not(replace(FACTS, programs=replace(EVERYTHING, plugin_dir="")))
    assert (said[Case.CRIU], said[Case.CRIU_PLUGIN]) == ("", "CRIU's cuda_plugin.so is not found")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [({"root": False}, "needs root"), ({"no_namespaces": "no namespaces"}, "no namespaces")],
)
def test_serving_needs_root_and_namespaces(facts, reason):
    said = why_not(replace(FACTS, **facts))
    assert said[Case.SERVE_TINY] == said[Case.SERVE_VLLM] == reason
    assert said[Case.TINY] == ""


def test_what_is_not_asked_for_does_not_run():
    said = why_not(FACTS, only=frozenset({Case.BARE}))
    assert said.pop(Case.BARE) == ""
    assert set(said.values()) == {"not asked for (--only)"}


@pytest.mark.parametrize(
    ("total", "host", "asked", "size", "torch"),
    [
        (80, 120, 0, 1, 4),
        (80, 120, 8, 8, 8),
        (1, 120, 0, 0.5, 0.5),
        (80, 1.5, 0, 0.5, 0.5),
        (4, 120, 16, 2, 2),
    ],
)
def test_as_much_is_held_as_gpu_and_host_can_take(total, host, asked, size, torch):
    facts = replace(
        FACTS,
        driver=replace(DRIVER, gpus=(replace(GPU, total=total * GIB),)),
        host_memory=int(host * GIB),
    )
    sizes = {each.case: each.size for each in plan(facts, Options(size=asked * GIB))}
    assert (sizes[Case.BARE], sizes[Case.TORCH]) == (size * GIB, torch * GIB)
