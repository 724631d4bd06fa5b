"""LoRA adapters as files, in PEFT's layout: a directory with adapter_config.json and adapter_model.safetensors.

An adapter of rank r changes the output layer: hidden @ A.T @ B.T * (lora_alpha / r) is added to the logits, with A of
r x hidden and B of vocabulary x r. https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

import json
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from llmux.tiny_engine._config import Shape
from llmux.tiny_engine._messages import Adapter
from llmux.tiny_engine._weights import Array, read_tensors, write_tensors
from llmux.tiny_engine.errors import AdapterNotFoundError, AdapterRefusedError

ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"
_A: Final = "base_model.model.output.lora_A.weight"
_B: Final = "base_model.model.output.lora_B.weight"


class Delta(NamedTuple):
    """What an adapter adds: `hidden @ down @ up`, its scale already in `up`."""

    down: Array
    up: Array


@dataclass(frozen=True)
class LoraLimits:
    """`loras` may answer together, `cached` are kept in memory, `rank` is the highest taken; 0 loras: none are served."""

    loras: int = 0
    cached: int = 0
    rank: int = 16


class Adapters:
    """The adapters in the worker's memory; one beyond the limit replaces the least recently used."""

    def __init__(self, shape: Shape, limits: LoraLimits) -> None:
        self._shape = shape
        self._limits = limits
        self._loaded: OrderedDict[Adapter, Delta] = OrderedDict()

    @property
    def names(self) -> tuple[str, ...]:
        """Those in memory, the least recently used first."""
        return tuple(adapter.name for adapter in self._loaded)

    def load(self, adapter: Adapter) -> Delta:
        """Read an adapter's files, whether it is in memory or not. Raises AdapterNotFoundError, AdapterRefusedError."""
        if not self._limits.loras:
            raise AdapterRefusedError(
                adapter.name, "LoRA is not enabled", "start the engine with --enable-lora"
            )
        delta = read_adapter(adapter, self._shape, self._limits.rank)
        self.unload(adapter.name)
        self._loaded[adapter] = delta
        if len(self._loaded) > self._limits.cached:
            self._loaded.popitem(last=False)
        return delta

    def use(self, adapter: Adapter) -> Delta:
        """Get an adapter for a request, reading it where it is not in memory. Raises as `load` does."""
        if adapter not in self._loaded:
            return self.load(adapter)
        self._loaded.move_to_end(adapter)
        return self._loaded[adapter]

    def unload(self, name: str) -> None:
        for adapter in [known for known in self._loaded if known.name == name]:
            del self._loaded[adapter]

    def drop(self) -> None:
        """Forget all that can be read again."""
        self._loaded.clear()


def read_adapter(adapter: Adapter, shape: Shape, highest_rank: int) -> Delta:
    """Read an adapter's directory. Raises AdapterNotFoundError, AdapterRefusedError, ModelDamagedError."""
    directory = Path(adapter.path)
    try:
        config = json.loads((directory / ADAPTER_CONFIG).read_bytes())
        rank, alpha = config["r"], config["lora_alpha"]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AdapterNotFoundError(adapter.name, adapter.path) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AdapterRefusedError(adapter.name, f"{directory / ADAPTER_CONFIG}: {error!r}") from error
    if type(rank) is not int or rank < 1 or not isinstance(alpha, int | float):
        raise AdapterRefusedError(adapter.name, f"r is {rank!r} and lora_alpha {alpha!r}: no rank and scale")
    if rank > highest_rank:
        reason = f"LoRA rank {rank} is greater than max_lora_rank {highest_rank}"
        raise AdapterRefusedError(adapter.name, reason, "start the engine with a higher --max-lora-rank")
    tensors = read_tensors(directory / ADAPTER_WEIGHTS, _tensors(shape, rank))
    return Delta(tensors[_A].T, tensors[_B].T * np.float32(alpha / rank))


def write_adapter(directory: Path, base: str, a: Array, b: Array) -> None:
    """Write an adapter that is applied as it is: its scale is 1."""
    rank = len(a)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": rank,
        "target_modules": ["output"],
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    write_tensors(directory / ADAPTER_WEIGHTS, {_A: a, _B: b})


def _tensors(shape: Shape, rank: int) -> dict[str, tuple[int, ...]]:
    return {_A: (rank, shape.hidden), _B: (shape.vocabulary, rank)}
