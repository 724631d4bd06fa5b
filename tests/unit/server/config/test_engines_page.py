"""docs/engines.md shows the table of engines that the server reads, and its examples are read by it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from llmux.server import config
from llmux.server.config._engines import ABILITIES

TEXT = (Path(__file__).resolve().parents[4] / "docs/engines.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```json\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_pages_table_is_the_servers():
    rows = re.findall(r"^\| `([\w.]+)` \| [^|]+ \| ([^|]*) \| (\w+) \|", TEXT, re.MULTILINE)
    shown = {
        name: (set(re.findall(r"`(\w+)`", weights)), adapters)
        for name, weights, adapters in rows
        if name != "command"
    }
    assert shown == {
        name: ({each.value for each in abilities.weights}, "yes" if abilities.adapters else "no")
        for name, abilities in ABILITIES.items()
        if name != "command"
    }


def test_each_engine_has_its_section():
    assert [name for name in ABILITIES if f"\n## {name}\n" not in TEXT and name != "tiny"] == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_a_configuration(example):
    value = json.loads(example)
    text = json.dumps(value if "models" in value else {"models": {"m": value}})
    assert config.parse(text).models
