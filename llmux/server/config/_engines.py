"""What each engine can do, and which fields are about it: the one table of this. Pure; docs/engines.md shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from llmux.server._model import Weights

EngineName = Literal["vllm", "tiny", "sglang", "llama.cpp", "command", "remote"]


class Ranks(StrEnum):
    """Whether it is known how an engine on several GPUs has to be started so that its ranks can leave them."""

    UNUSED = "unused"  # none that talk to one another by NCCL
    UNKNOWN = "unknown"
    SETTLED = "settled"


@dataclass(frozen=True)
class Abilities:
    """What llmux can have an engine do."""

    title: str
    """What it is called in a sentence."""
    weights: Mapping[Weights, str] = field(default_factory=dict)
    """What it can do with its weights while its process is there, each with the option in `extra_args` that this takes, if any."""
    runs_here: bool = True
    """llmux starts and ends it."""
    adapters: bool = False
    """It has vLLM's calls for LoRA adapters, or may have."""
    takes_gpus: bool = False
    """It runs on GPUs wherever there are some, one at least."""
    ranks: Ranks = Ranks.UNUSED
    """What is known of its processes on several GPUs."""


_ALL = {Weights.RETAIN: "", Weights.OFFLOAD: "", Weights.DISCARD: ""}

ABILITIES: Mapping[EngineName, Abilities] = {
    "vllm": Abilities("vLLM", _ALL, adapters=True, takes_gpus=True, ranks=Ranks.SETTLED),
    "tiny": Abilities("the tiny engine", _ALL, adapters=True),
    "sglang": Abilities(
        "SGLang",
        {**_ALL, Weights.OFFLOAD: "--enable-weights-cpu-backup"},
        takes_gpus=True,
        ranks=Ranks.UNKNOWN,
    ),
    "llama.cpp": Abilities("llama.cpp", {Weights.RETAIN: ""}),
    # What it cannot do it answers with 404, and then its weights stay.
    "command": Abilities("a command", _ALL, adapters=True, ranks=Ranks.UNKNOWN),
    "remote": Abilities("a remote model", runs_here=False),
}

FIELDS_OF: Mapping[str, tuple[EngineName, ...]] = {
    "program": ("sglang", "llama.cpp"),
    "command": ("command",),
    "calls": ("command",),
    "remote": ("remote",),
    "served_name": ("command", "remote"),  # the others are told llmux's name for the model
}
"""The fields of a model that are for some engines only."""

REQUIRED: Mapping[EngineName, tuple[str, str]] = {
    "command": ("command", "the program and its arguments, as a list"),
    "remote": ("remote", 'where it is, as in {"url": "https://api.example.com/v1"}'),
}
"""The field that an engine cannot be without, and what that is."""

_OF_A_LIFE = (
    *("port", "ports", "replicas", "vllm_command", "extra_args", "env", "nccl", "isolation", "restart"),
    *("eviction", "sleep_level", "ladder", "checkpoint_path", "resources", "ttl", "schedule"),
    *("adapters", "max_adapters"),
)
"""The fields that are about an engine that llmux starts and ends."""


def field_faults(engine: EngineName, given: Collection[str]) -> Iterator[str]:
    """Yield what does not go with this engine of the fields that are `given`, and what it lacks."""
    if (required := REQUIRED.get(engine)) and required[0] not in given:
        yield f'engine {engine!r} needs "{required[0]}": {required[1]}'
    for name, engines in FIELDS_OF.items():
        if name in given and engine not in engines:
            whose = " and ".join(map(repr, engines))
            yield f'"{name}" is for engine {whose} only, and this engine is {engine!r}'
    if "adapters" in given and ABILITIES[engine].runs_here and not ABILITIES[engine].adapters:
        yield f'"adapters" are loaded by vLLM\'s calls, which {ABILITIES[engine].title} does not have; leave them out'
    if not ABILITIES[engine].runs_here:
        yield from (
            f'"{name}" is about an engine that llmux runs, and {engine!r} is none; leave it out'
            for name in _OF_A_LIFE
            if name in given
        )
