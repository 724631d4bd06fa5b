"""`show --missing`, as text for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from llmux.criu_images._counted import counted
from llmux.criu_images._missing import Missing
from llmux.criu_images._paths import escape

VERSION = 1


def render_missing(missing: Sequence[Missing]) -> str:
    """Write a line for each path."""
    lines = [
        f"missing  {escape(item.path)}  ({item.kind}; {item.found}; brought by {item.mended_by})"
        for item in missing
    ]
    return "\n".join([*lines, f"{counted(len(missing), 'path')} missing"])


def render_missing_json(missing: Sequence[Missing]) -> str:
    """Write the same for programs."""
    paths = [
        {"path": escape(item.path), "kind": item.kind, "found": item.found, "mended_by": item.mended_by}
        for item in missing
    ]
    return json.dumps({"version": VERSION, "missing": paths}, indent=2)
