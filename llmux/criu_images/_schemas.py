"""The published JSON Schemas of what the commands write with `--json`: `schemas/`, one file for each document."""

from __future__ import annotations

import json
import re
from importlib.resources import files

_SHARED = "common.json"
_REFERENCE = re.compile(r'"#/\$defs/(\w+)"')


def published_schema(name: str) -> str:
    """Return the schema of a document as one text that refers to no other file."""
    own = _read(f"{name}.json").replace(f'"{_SHARED}#/', '"#/')
    schema = json.loads(own)
    definitions = schema.setdefault("$defs", {})
    definitions.update(_reached(own, json.loads(_read(_SHARED))["$defs"]))
    return json.dumps(schema, indent=2)


def _read(name: str) -> str:
    return files("llmux.criu_images").joinpath("schemas", name).read_text(encoding="utf-8")


def _reached(text: str, shared: dict[str, object]) -> dict[str, object]:
    """Pick the definitions that a text refers to, and those that they refer to in turn."""
    found: dict[str, object] = {}
    waiting = _REFERENCE.findall(text)
    while waiting:
        name = waiting.pop()
        if name in shared and name not in found:
            found[name] = shared[name]
            waiting += _REFERENCE.findall(json.dumps(shared[name]))
    return {name: found[name] for name in sorted(found)}
