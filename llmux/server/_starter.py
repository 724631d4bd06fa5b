"""A first configuration out of what was found on a machine: as little as serves. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from llmux.server._model_files import ModelFiles

_TINY = "llmux_tiny"
_ROOM = 1.3
"""A model's weights and something to work with, for each byte of weights."""
_UNFIT = re.compile(r"[^a-z0-9._-]+")

Document = dict[str, object]


@dataclass(frozen=True)
class Found:
    """What there is."""

    models: tuple[ModelFiles, ...]
    gpus: Mapping[int, int]
    """Each GPU's memory, by its index."""
    criu: bool
    """Models can be put to sleep to disk."""
    amx: bool
    """The processor has AMX, for which CRIU restores no permission."""


def document(found: Found, host: str, ports: Iterable[int]) -> Document:
    """Return a configuration of the models found; `host` is what llmux listens on, `ports` are free ones, its own the first."""
    free = iter(ports)
    port = next(free)
    names = _names(found.models)
    return {
        "host": host,
        "port": port,
        "models": {
            name: _model(model, next(free), found) for name, model in zip(names, found.models, strict=True)
        },
    }


def _names(models: Sequence[ModelFiles]) -> list[str]:
    """Return a name for each: the last part of its source in small letters, with a number where another has that already."""
    names: list[str] = []
    for model in models:
        last = _UNFIT.sub("-", model.source.rstrip("/").rpartition("/")[2].lower()).strip("-._")[:100]
        names.append(next(name for name in _candidates(last or "model") if name not in names))
    return names


def _candidates(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{number}" for number in count(2))


def _model(model: ModelFiles, port: int, found: Found) -> Document:
    engine = "tiny" if model.kind == _TINY else "vllm"
    arguments = _arguments(model, found) if engine == "vllm" else []
    return {
        "model_path": model.source,
        "port": port,
        **({"engine": engine} if engine != "vllm" else {}),
        **({"env": {"HF_HUB_CACHE": model.hub}} if model.hub else {}),
        **({"extra_args": arguments} if arguments else {}),
        "eviction": _eviction(engine, found),
    }


def _arguments(model: ModelFiles, found: Found) -> list[str]:
    if not found.gpus:
        return ["--dtype", "float32"] if found.amx else []
    memory, together = min(found.gpus.values()), 1
    while together * 2 <= len(found.gpus) and model.weights * _ROOM > memory * together:
        together *= 2
    return ["--tensor-parallel-size", str(together)] if together > 1 else []


def _eviction(engine: str, found: Found) -> Document:
    """Return the deepest sleep that works here: on disk; else in host memory, where there is a GPU to leave; else none."""
    if found.criu and (engine == "tiny" or not found.gpus):
        return {"weights": "discard", "process": "checkpoint"}
    if engine == "vllm" and found.gpus:
        return {"weights": "offload", "process": "keep_running"}
    return {"weights": "discard", "process": "keep_running" if engine == "tiny" else "stop"}
