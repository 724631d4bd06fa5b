"""The network's step, generated for one shape, compiled once and loaded from a mapping that stays.

A compiled-model cache of a large engine holds shared objects which its processes keep mapped, so a checkpoint needs them
as files. This one holds Python bytecode: `step.py`, unrolled for the shape, and `step.pyc`, both below
`<cache>/<digest of the source and the interpreter>/`.
"""

import hashlib
import mmap
import os
import py_compile
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourcelessFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from typing import cast

from llmux.tiny_engine._config import Shape
from llmux.tiny_engine._weights import Array, Tensors

# Of the memory, what is left after one more token: about the last twenty tokens count.
MEMORY_DECAY = 0.9

Delta = tuple[Array, Array]
"""What a LoRA adapter adds to the output layer: two factors."""
Step = Callable[[Tensors, Sequence[int], Array, Delta | None], Array]

_TEMPLATE = '''\
"""One step of a network with {shape}."""

from numpy import concatenate, tanh


def step(weights, recent, memory, delta):
    embedding = weights.embedding
    features = concatenate(({embeddings}, memory))
    hidden = tanh(features @ weights.hidden_weight + weights.hidden_bias)
    logits = hidden @ weights.output_weight + weights.output_bias
    return logits if delta is None else logits + hidden @ delta[0] @ delta[1]
'''


@dataclass(frozen=True)
class CompiledStep:
    """`step(weights, recent tokens, memory, adapter's delta)` gives the next token's logits; `mapping` is the file it came from."""

    step: Step
    path: Path
    mapping: mmap.mmap


def default_cache(env: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_CACHE_HOME/llmux-tiny` or `~/.cache/llmux-tiny`."""
    home = env.get("XDG_CACHE_HOME") or Path(env.get("HOME", "~")).expanduser() / ".cache"
    return Path(home) / "llmux-tiny"


def compiled_step(shape: Shape, cache: Path) -> CompiledStep:
    """Take the step from the cache, compiling it first where it is not there yet."""
    source = _source(shape)
    digest = hashlib.sha256(f"{sys.implementation.cache_tag}\n{source}".encode()).hexdigest()
    path = cache / digest[:16] / "step.pyc"
    if not path.exists():
        _compile(source, path)
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return CompiledStep(_load(path, mapping), path, mapping)


def _source(shape: Shape) -> str:
    embeddings = ", ".join(f"embedding[recent[{place}]]" for place in range(shape.context))
    return _TEMPLATE.format(shape=shape, embeddings=embeddings)


def _compile(source: str, path: Path) -> None:
    """Write source and bytecode, each by rename: several engines may start at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source_path = path.with_suffix(".py")
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(source)
    Path(file.name).replace(source_path)
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(source_path), cfile=str(path), doraise=True, invalidation_mode=unchecked)


class _MappedLoader(SourcelessFileLoader):
    def __init__(self, name: str, path: Path, mapping: mmap.mmap) -> None:
        super().__init__(name, str(path))
        self._mapping = mapping

    def get_data(self, path: str) -> bytes:  # noqa: ARG002 - the loader knows one file only
        return self._mapping[:]


def _load(path: Path, mapping: mmap.mmap) -> Step:
    loader = _MappedLoader("llmux_tiny_step", path, mapping)
    module = module_from_spec(ModuleSpec("llmux_tiny_step", loader, origin=str(path)))
    loader.exec_module(module)
    return cast("Step", module.step)
