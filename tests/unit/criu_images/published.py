"""The published schemas, to hold what is written against."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from jsonschema import Draft202012Validator

from llmux.criu_images._schemas import published_schema

DOCUMENTS = sorted(
    path.name.removesuffix(".json")
    for path in files("llmux.criu_images").joinpath("schemas").iterdir()
    if path.name != "common.json"
)


@cache
def schema(document: str) -> dict[str, object]:
    return json.loads(published_schema(document))


@cache
def validator(document: str) -> Draft202012Validator:
    return Draft202012Validator(schema(document))


def check(document: str, written: str | bytes) -> None:
    validator(document).validate(json.loads(written))


def fields(part: object) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield each field that a schema names, with what it says of it."""
    if isinstance(part, dict):
        own = part.get("properties", {}) if part.get("type") == "object" else {}
        yield from own.items()
        for inner in part.values():
            yield from fields(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from fields(inner)
