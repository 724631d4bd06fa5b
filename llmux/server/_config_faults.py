"""pydantic's errors as lines that a person can act on: the path to the field, what is wrong, what was probably meant."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import get_args

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
            return f"unknown field{_meant(str(name), _fields_at(root, parents))}"
        case "literal_error":
            allowed = str(details.get("ctx", {}).get("expected", ""))
            choices = [each.strip("'") for each in allowed.replace(" or ", ", ").split(", ")]
            return (
                f"{_shown(details['input'])} is not one of {allowed}{_meant(str(details['input']), choices)}"
            )
        case "value_error":
            return str(details.get("ctx", {}).get("error", details["msg"]))
        case "json_invalid":
            return f"is not JSON: {details.get('ctx', {}).get('error', details['msg'])}"
        case _:
            message = details["msg"].removeprefix("Input should be ")
            return f"should be {message}, and is {_shown(details['input'])}"


def _meant(given: str, known: list[str]) -> str:
    """Suggest the nearest known name, or list them all."""
    near = difflib.get_close_matches(given, known, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known here: {', '.join(known)}" if known else ""


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _fields_at(root: type[BaseModel], parents: list[int | str]) -> list[str]:
    """Return the names of the fields that the section at `parents` may have."""
    section: type[BaseModel] | None = root
    for part in parents:
        if section is None:
            return []
        field = section.model_fields.get(str(part))
        if field is not None:  # a part that is no field is a key of the mapping before it
            section = next(_sections(field.annotation), None)
    return [field.alias or name for name, field in section.model_fields.items()] if section else []


def _sections(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the section types inside an annotation such as `dict[str, Section]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections(argument)
