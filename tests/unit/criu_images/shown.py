"""What `show --json` prints, as one text."""

from __future__ import annotations

from llmux.criu_images._inventory import Inventory
from llmux.criu_images._records import Dump
from llmux.criu_images._report_json import json_lines
from llmux.criu_images._sections import Section


def render_json(dump: Dump, inventory: Inventory, only: Section | None = None) -> str:
    return "\n".join(json_lines(dump, inventory, only))
