"""Which cases run on a machine, with how many bytes, and why the others cannot: facts to a plan. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from gpu_check._facts import Facts

GIB = 1 << 30
_REMAPS_SINCE = 13000
"""CUDA's version from which on a restore takes a device map (driver 580)."""


class Case(StrEnum):
    """What is tried, in this order: from the least that has to work to the most."""

    BANDWIDTH = "bandwidth"
    BARE = "bare"
    NVIDIA = "cuda-checkpoint"
    DEVICE_MAP = "device-map"
    TORCH = "torch"
    TINY = "tiny"
    SERVE_TINY = "serve-tiny"
    SERVE_VLLM = "serve-vllm"
    CRIU = "criu"
    CRIU_PLUGIN = "criu-plugin"
    CONTAINERS = "containers"


TITLES = {
    Case.BANDWIDTH: "PCIe: pinned memory to the GPU and back",
    Case.BARE: "a process with the driver's API alone, by llmux-cuda-checkpoint",
    Case.NVIDIA: "the same by NVIDIA's cuda-checkpoint",
    Case.DEVICE_MAP: "the same, back on the other GPU (--device-map)",
    Case.TORCH: "a process with torch",
    Case.TINY: "the tiny engine, --device cuda",
    Case.SERVE_TINY: "llmux serve, the tiny engine, cuda_suspend",
    Case.SERVE_VLLM: "llmux serve, vLLM, cuda_suspend",
    Case.CRIU: "criu dump and restore, suspended by llmux-cuda-checkpoint",
    Case.CRIU_PLUGIN: "criu dump and restore, by CRIU's plugin for CUDA",
    Case.CONTAINERS: "sleep in one container, wake in another (docker/success_test.py)",
}
SUSPENDS = frozenset(Case) - {Case.BANDWIDTH}
"""The cases that prove something about llmux; without one that passed there is no pass."""
_WHOLE = frozenset({Case.TORCH})
"""Those that look at their memory on the GPU itself, so that several GB take no time."""


@dataclass(frozen=True)
class Options:
    """What a person asks for. `size` in bytes, 0: what fits; `only` empty: all."""

    rounds: int = 20
    size: int = 0
    only: frozenset[Case] = frozenset()


@dataclass(frozen=True)
class Planned:
    """A case: with how many bytes on the GPU it runs, or why it does not."""

    case: Case
    size: int = 0
    why_not: str = ""


def plan(facts: Facts, options: Options) -> tuple[Planned, ...]:
    """Return all cases in their order; nothing where there is no GPU."""
    if not facts.driver.gpus:
        return ()
    wanted = options.only or frozenset(Case)
    return tuple(_planned(case, facts, options, wanted) for case in Case)


def _planned(case: Case, facts: Facts, options: Options, wanted: Collection[Case]) -> Planned:
    why_not = "not asked for (--only)" if case not in wanted else _lacking(case, facts)
    return Planned(case, 0 if why_not else _size(case, facts, options), why_not)


def _size(case: Case, facts: Facts, options: Options) -> int:
    """Return what fits: half of the smallest GPU, and a third of the host's memory, which takes it in."""
    most = min(*(gpu.total // 2 for gpu in facts.driver.gpus), facts.host_memory // 3)
    return min(options.size or (4 * GIB if case in _WHOLE else GIB), most)


def _lacking(case: Case, facts: Facts) -> str:
    """Return why a case cannot run, or nothing."""
    if case is Case.BANDWIDTH:
        return ""
    if not facts.driver.checkpoint_api:
        return f"driver {facts.driver.version or 'unknown'} has no checkpoint API: 570 or newer is needed"
    if facts.driver.no_nvml:
        return f"NVML does not say what is on the GPU: {facts.driver.no_nvml}"
    return _lacking_program(case, facts)


def _lacking_program(case: Case, facts: Facts) -> str:
    programs = facts.programs
    serves = facts.no_namespaces if facts.root else "needs root"
    needed = {
        Case.NVIDIA: ("" if programs.cuda_checkpoint else "NVIDIA's cuda-checkpoint is not on PATH",),
        Case.DEVICE_MAP: (_lacking_gpus(facts),),
        Case.TORCH: (programs.no_torch,),
        Case.TINY: (programs.no_python,),
        Case.SERVE_TINY: (programs.no_python, serves),
        Case.SERVE_VLLM: (programs.no_vllm, programs.no_python, serves),
        Case.CRIU: (programs.no_criu,),
        Case.CRIU_PLUGIN: (
            programs.no_criu,
            "" if programs.plugin_dir else "CRIU's cuda_plugin.so is not found",
        ),
        Case.CONTAINERS: (programs.no_docker,),
    }
    return next(filter(None, needed.get(case, ())), "")


def _lacking_gpus(facts: Facts) -> str:
    if len(facts.driver.gpus) < 2:
        return "needs two GPUs"
    if len({gpu.name for gpu in facts.driver.gpus[:2]}) > 1:
        return "needs two GPUs of one kind"
    if facts.driver.cuda < _REMAPS_SINCE:
        return "needs driver 580 or newer"
    return ""
