"""docs/evictions.md shows the table that the server reads."""

from __future__ import annotations

import re
from pathlib import Path

from llmux.server.config._matrix import MATRIX, Need, Possible

PAGE = Path(__file__).resolve().parents[4] / "docs/evictions.md"
WORDS = {
    Need.SLEEP_MODE: "sleep mode",
    Need.GPU: "a GPU",
    Need.CRIU: "CRIU",
    Need.CUDA_DRIVER: "a CUDA driver that can",
}


def test_the_pages_table_is_the_servers():
    text, _, _figures = PAGE.read_text("utf-8").partition("## What each costs")
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE)
    shown = {(weights, process): set(needs.split(", ")) for weights, process, needs in rows}
    assert shown == {
        (each.weights.value, each.process.value): (
            {WORDS[need] for need in entry.needs} or {"nothing"}
            if isinstance(entry, Possible)
            else {"refused"}
        )
        for each, entry in MATRIX.items()
    }


def test_each_need_is_explained():
    text = PAGE.read_text("utf-8")
    assert [words for words in WORDS.values() if f"- **{words}**:" not in text] == []
