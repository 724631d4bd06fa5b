"""The decorator of the records that a large dump has a hundred thousand of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

_Class = TypeVar("_Class")


@dataclass_transform(frozen_default=True)
def record(cls: type[_Class]) -> type[_Class]:
    """Make a dataclass that is frozen for the type checker alone: Python sets the fields of a frozen one by a call for each."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
