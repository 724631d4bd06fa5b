"""What an engine's own arguments say about GPUs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

# As vLLM has them, then as SGLang does.
_TENSOR = ("--tensor-parallel-size", "-tp", "--tp-size", "--tp")
_PIPELINE = ("--pipeline-parallel-size", "-pp", "--pp-size", "--pp")
_DATA = ("--data-parallel-size", "-dp", "--dp-size", "--dp")
_MEMORY = ("--gpu-memory-utilization", "--mem-fraction-static")
_SHARED = "--enable-dp-attention"
"""With this SGLang's copies share the GPUs that a layer is spread over."""


def tensor_parallel_size(extra_args: Sequence[str]) -> int | None:
    """Return how many GPUs share a layer, where the arguments say it."""
    return _count(_value(extra_args, _TENSOR))


def copies_and_stages(extra_args: Sequence[str]) -> int:
    """Return how many times as many GPUs an engine takes for its pipeline stages and its copies of the model."""
    copies = 1 if _SHARED in extra_args else _count(_value(extra_args, _DATA)) or 1
    return (_count(_value(extra_args, _PIPELINE)) or 1) * copies


def gpu_memory_fraction(extra_args: Sequence[str]) -> float | None:
    """Return the part of a GPU's memory that the engine takes, where the arguments say it."""
    try:
        fraction = float(_value(extra_args, _MEMORY) or "")
    except ValueError:
        return None
    return fraction if 0 < fraction <= 1 else None


def switch(extra_args: Sequence[str], name: str) -> bool | None:
    """Return whether the arguments say this switch or its negation, the last one counting; None: neither."""
    meant = {name: True, negated(name): False}
    said = (meant.get(word.replace("_", "-")) for word in extra_args)
    return next((each for each in reversed(tuple(said)) if each is not None), None)


def negated(name: str) -> str:
    """Return how vLLM takes the contrary of a switch: --no-name for --name."""
    return f"--no-{name.removeprefix('--')}"


def _count(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdigit() and int(value) else None


def _value(extra_args: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the value of an option, the last one counting; vLLM takes --name value and --name=value, and _ for -."""
    found = None
    for word, after in zip_longest(extra_args, extra_args[1:]):
        name, equals, value = word.partition("=")
        if (name if name in names else name.replace("_", "-")) in names:
            found = value if equals else after
    return found
