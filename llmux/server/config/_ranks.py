"""What an engine on several GPUs is started with so that its ranks can leave them and come back. Pure; docs/gpu.md says who reports it.

rank_settings(model) -> RankSettings    what llmux adds of that
faults(config)                          what the user says against it, and engines of which nobody knows what they need
leaves_gpus(model)                      whether it may have to
stay_unasked(model)                     whether it is such an engine
unprepared(eviction, model)             why one that was not started so cannot be asked for it
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from llmux.server._model import Eviction, Process
from llmux.server.config import _arguments
from llmux.server.config._engines import ABILITIES, Ranks
from llmux.server.config._models import ModelConfig
from llmux.server.config._top import Config

_LEAVES_GPUS = frozenset({Process.CHECKPOINT, Process.CUDA_SUSPEND})

_P2P, _NVLS, _SHM, _HOST = (
    "NCCL_P2P_DISABLE",
    "NCCL_NVLS_ENABLE",
    "NCCL_SHM_DISABLE",
    "NCCL_CUMEM_HOST_ENABLE",
)
_VARIABLES: Mapping[str, str] = {_P2P: "1", _NVLS: "0", _SHM: "1", "VLLM_ALLREDUCE_USE_SYMM_MEM": "0"}
_SWITCHES = ("--disable-custom-all-reduce", "--enforce-eager")
_INSTEAD_OF_SHM = (_HOST, "0")
"""With this NCCL's shared memory is files, which the driver does not hold."""


@dataclass(frozen=True)
class RankSettings:
    """What llmux starts an engine with for the sake of its ranks."""

    env: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((*(f"{name}={value}" for name, value in self.env.items()), *self.arguments))


def rank_settings(model: ModelConfig) -> RankSettings:
    """Return what llmux adds to what the user says himself; nothing where the ranks stay on their GPUs, or he sees to it."""
    if not (_concerns(model) and ABILITIES[model.engine].ranks is Ranks.SETTLED):
        return RankSettings()
    env = {name: value for name, value in _wanted(model).items() if name not in model.env}
    switches = (each for each in _SWITCHES if _arguments.switch(model.extra_args, each) is None)
    return RankSettings(env, tuple(switches))


def faults(config: Config) -> Iterator[str]:
    """Yield what keeps an engine's ranks on their GPUs although its eviction wants them off, each with the path to its field."""
    for name, model in config.models.items():
        if _concerns(model):
            yield from (f"models.{name}.{fault}" for fault in _faults(model))


def stay_unasked(model: ModelConfig) -> bool:
    """Say whether it has ranks of which nobody knows how they could leave their GPUs: they do not where nobody asks for it."""
    return _has_ranks(model) and ABILITIES[model.engine].ranks is Ranks.UNKNOWN


def unprepared(eviction: Eviction, model: ModelConfig) -> str:
    """Return why the ranks of an engine that was started as configured cannot leave their GPUs; or an empty text."""
    if eviction.process not in _LEAVES_GPUS or not _has_ranks(model) or leaves_gpus(model):
        return ""
    if stay_unasked(model):
        return _unknown(model)
    return (
        f"its {model.ranks} ranks were not started so that they can leave their GPUs: its own eviction keeps them there; "
        f'say "process": "{eviction.process}" in its eviction, or "nccl": "as_is" to try it all the same'
    )


def _unknown(model: ModelConfig) -> str:
    return (
        f"what {ABILITIES[model.engine].title} with {model.ranks} ranks needs so that they can leave their GPUs, nobody has reported; "
        'use process "keep_running" or "stop", or say "nccl": "as_is" to try with what `env` and `extra_args` say'
    )


def _faults(model: ModelConfig) -> Iterator[str]:
    if stay_unasked(model):
        yield f"eviction: {_unknown(model)}"
        return
    reason = f"keeps the {model.ranks} ranks on their GPUs, and its eviction wants them off"
    otherwise = 'or say "nccl": "as_is" to try it all the same'
    for name, value in _wanted(model).items():
        if (said := model.env.get(name, value)) != value:
            yield f'env.{name}: {said!r} {reason}; say "{value}" or leave it out, {otherwise}'
    for switch in _SWITCHES:
        if _arguments.switch(model.extra_args, switch) is False:
            yield f"extra_args: {_arguments.negated(switch)} {reason}; leave it out, {otherwise}"


def _concerns(model: ModelConfig) -> bool:
    return _has_ranks(model) and leaves_gpus(model)


def _has_ranks(model: ModelConfig) -> bool:
    """Say whether it has several that llmux is to see to."""
    return model.nccl == "safe" and model.ranks > 1 and ABILITIES[model.engine].ranks is not Ranks.UNUSED


def leaves_gpus(model: ModelConfig) -> bool:
    """Say whether it may have to on its own; by hand it can be asked for more."""
    evictions = (model.eviction.eviction(), *model.eviction.escalations())
    return model.ladder.deepen_after is not None or any(each.process in _LEAVES_GPUS for each in evictions)


def _wanted(model: ModelConfig) -> Mapping[str, str]:
    name, value = _INSTEAD_OF_SHM
    if model.env.get(name) != value:
        return _VARIABLES
    return {each: wanted for each, wanted in _VARIABLES.items() if each != _SHM}
