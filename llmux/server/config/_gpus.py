"""Which GPUs a model has: by `resources.gpus`, or by CUDA_VISIBLE_DEVICES in its `env`, which is read as the same. Pure."""

from __future__ import annotations

from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from llmux.server._gpu_names import Here, parse

Stated = int | tuple[int, ...] | None
"""How many, which, or nothing."""


def _gpus(value: object) -> int | tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, list) and value and all(type(each) is int and each >= 0 for each in value):
        if len(set(value)) < len(value):
            raise ValueError("names a GPU twice; each index once")
        return tuple(value)
    raise ValueError("must be how many GPUs (2), or which, as a list of their indexes ([0, 1])")


Gpus = Annotated[
    int | tuple[int, ...],
    PlainValidator(_gpus),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "array", "items": {"type": "integer", "minimum": 0}},
            ]
        }
    ),
]


def said(stated: Stated, visible: str | None, here: Here) -> Stated:
    """Return how many GPUs are said, or which, of those that are `here`. Of parts of GPUs nothing is counted."""
    if visible is None or not here:
        return stated
    return parse(visible).found(here) or 0
