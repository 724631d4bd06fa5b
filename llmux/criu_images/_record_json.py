"""Any record as JSON, field by field under its own name: what is decoded is shown, whatever is added to a record."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import TypeAlias

from llmux.criu_images._paths import escape
from llmux.criu_images._words import member

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | bool | None"


@dataclass(frozen=True, slots=True)
class Written:
    """A list of things, each already written."""

    texts: Iterable[str]


def write_numbers(names: Sequence[str], rows: Iterable[tuple[int, ...]]) -> Written:
    """Write an object of numbers for each row: by a template, as a large dump has a hundred thousand of them."""
    members = ", ".join(f'"{name}": %d' for name in names)
    return Written(map(f"{{{members}}}".__mod__, rows))


def record_json(value: object) -> Json:
    """Write paths as text (`_paths.py`), members of an enum by their name, tuples as lists, records as objects."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, bytes):
        return escape(value)
    if isinstance(value, enum.Enum):
        return member(value)
    if isinstance(value, tuple):
        return [record_json(item) for item in value]
    return dict(_items(value))


def record_object(value: object, **names: Json) -> dict[str, Json]:
    """Write a record with `names` before its own fields."""
    return names | _items(value)


def _items(value: object) -> dict[str, Json]:
    kind: type = type(value)
    return {name: record_json(getattr(value, name)) for name in _names(kind)}


@cache
def _names(kind: type) -> tuple[str, ...]:
    if not is_dataclass(kind):
        raise TypeError(f"{kind.__name__} is no record")
    return tuple(field.name for field in fields(kind))
