"""pydantic's errors as lines that a person can act on: the path to the field, what is wrong, what was probably meant."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_LONGEST_VALUE = 80
_NO_SIZE = '{value} is no size; say a number of bytes or a text like "20GiB"'
_PLAIN = {
    "missing": "is required and missing",
    "too_short": "must not be empty",
    "byte_size": _NO_SIZE,
    "byte_size_unit": _NO_SIZE,
}


def describe(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """Return one line for each fault in `error`, which validating a `root` raised."""
    return [_line(details, root) for details in error.errors(include_url=False)]


def _line(details: ErrorDetails, root: type[BaseModel]) -> str:
    path = ".".join(str(part) for part in details["loc"] if part != "[key]")
    return f"{path}: {_fault(details, root)}" if path else f"it {_fault(details, root)}"


def _fault(details: ErrorDetails, root: type[BaseModel]) -> str:
    *parents, name = details["loc"] or ("",)
    match details["type"]:
        case kind if kind in _PLAIN:
            return _PLAIN[kind].format(value=_shown(details["input"]))
        case "extra_forbidden":
            return f"unknown field{_meant_field(str(name), parents, root)}"
        case "literal_error":
            allowed = str(details.get("ctx", {}).get("expected", ""))
            choices = [each.strip("'") for each in allowed.replace(" or ", ", ").split(", ")]
            return (
                f"{_shown(details['input'])} is not one of {allowed}{_near(str(details['input']), choices)}"
            )
        case "value_error":
            return str(details.get("ctx", {}).get("error", details["msg"]))
        case "json_invalid":
            return f"is not JSON: {details.get('ctx', {}).get('error', details['msg'])}"
        case _:
            message = details["msg"].removeprefix("Input should be ")
            return f"should be {message}, and is {_shown(details['input'])}"


def _meant_field(given: str, parents: list[int | str], root: type[BaseModel]) -> str:
    """Say where a field of this very name belongs, or suggest the nearest name that is known at `parents`, or list them all."""
    section = _section_at(root, parents)
    if section is None:
        return ""
    below = [".".join((*map(str, parents), path)) for path in _places(given, section)]
    if places := below or list(_places(given, root)):
        return f"; it belongs at {' or '.join(path if '.' in path else 'the top' for path in places)}"
    known = _names(section)
    return _near(given, known) or (f"; known here: {', '.join(known)}" if known else "")


def _near(given: str, known: list[str]) -> str:
    """Suggest the nearest known name, where one is near."""
    near = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _section_at(root: type[BaseModel], parents: list[int | str]) -> type[BaseModel] | None:
    """Return the type of the section at `parents`."""
    section: type[BaseModel] | None = root
    for part in parents:
        if section is None:
            return None
        field = section.model_fields.get(str(part))
        if field is not None:  # a part that is no field is a key of the mapping before it
            section = next((each for _, each in _sections(field.annotation)), None)
    return section


def _names(section: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in section.model_fields.items()]


def _places(wanted: str, section: type[BaseModel]) -> Iterator[str]:
    """Yield the path, from `section`, to each field of this name; NAME and N stand for the keys of mappings and lists."""
    for name, field in zip(_names(section), section.model_fields.values(), strict=True):
        if name == wanted:
            yield name
        for keys, below in _sections(field.annotation):
            yield from (".".join((name, *keys, path)) for path in _places(wanted, below))


def _sections(annotation: object) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """Yield the section types inside an annotation such as `dict[str, Section]`, each with what stands for the keys on the way."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield (), annotation
    origin = get_origin(annotation)
    key = ("NAME",) if origin is dict else ("N",) if origin in {tuple, list} else ()
    for argument in get_args(annotation):
        yield from (((*key, *keys), section) for keys, section in _sections(argument))
