"""Values that are made for each request: frozen for whoever reads and checks the code, and quick to make.

A frozen dataclass sets each of its fields by a call of `object.__setattr__`, which takes several times as long as setting it. A
request makes some twenty values of a hundred fields in all, so that these are frozen for the type checker alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def fleeting(*, eq: bool = True, kw_only: bool = False) -> Callable[[type[_T]], type[_T]]:
    """Make a dataclass whose fields nobody may set: mypy sees to that."""

    def made(cls: type[_T]) -> type[_T]:
        return dataclass(eq=eq, unsafe_hash=eq, kw_only=kw_only, slots=True)(cls)

    return made
