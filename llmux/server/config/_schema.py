"""The configuration's JSON Schema, for editors: docs/config.schema.json, and `llmux validate --schema`."""

from __future__ import annotations

from llmux.server.config._text import SCHEMA_KEY
from llmux.server.config._top import Config

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, object]:
    """Return the schema: fields, kinds of values and bounds. What only the whole file shows, `parse` alone finds."""
    made = Config.model_json_schema()
    ours = {SCHEMA_KEY: {"type": "string", "description": "Where this schema is, for editors."}}
    return {
        "$schema": _DIALECT,
        **made,
        "title": "The configuration of llmux",
        "properties": ours | made["properties"],
    }
