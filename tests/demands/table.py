"""`docs/coverage.md`: the rows, each with the tests that are marked as its proof."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pytest

from demands import DEMANDS, SECTIONS
from demands.model import Demand, Section

COMMAND = "make coverage"
HEAD = f"""\
# What a restore asks for, and who answers

Made by `{COMMAND}` from the rows in `tests/demands/` and the tests that are marked with them; a test compares this file with them.
Each row: what CRIU asks for or refuses (with its function), what llmux records at the dump, rebuilds before the restore, checks, refuses or
reports, and the tests that prove it. A dash: nothing, because CRIU brings it back from its images alone or nobody needs to.
"""
COLUMNS = ("what", "CRIU asks", "recorded", "rebuilt", "checked", "refused or reported", "proved by")


def marks_of(item: pytest.Item) -> Iterable[tuple[str, str]]:
    """Yield each id an item is marked with, and the item's name: without its parameters where the mark is the function's."""
    of_function = list(getattr(getattr(item, "function", None), "pytestmark", ()))
    for node, mark in item.iter_markers_with_node("demand"):
        whole = node is item and mark not in of_function
        for name in mark.args:
            yield name, item.nodeid if whole else item.nodeid.partition("[")[0]


def proofs(items: Sequence[pytest.Item]) -> dict[str, list[str]]:
    """Return the tests of each row, sorted. Raises pytest.UsageError for a mark that names no row."""
    found: dict[str, set[str]] = {name: set() for name in DEMANDS}
    for item in items:
        for name, proof in marks_of(item):
            if name not in found:
                raise pytest.UsageError(f"{item.nodeid}: no demand {name!r} in tests/demands/")
            found[name].add(proof)
    return {name: sorted(tests) for name, tests in found.items()}


def table(proved: Mapping[str, Sequence[str]]) -> str:
    return "\n".join([HEAD, *(line for section in SECTIONS for line in _section(section, proved))])


def _section(section: Section, proved: Mapping[str, Sequence[str]]) -> Iterable[str]:
    yield f"## {section.title}\n"
    yield _line(COLUMNS)
    yield _line(["---"] * len(COLUMNS))
    yield from (_row(row, proved.get(row.id, ())) for row in section.rows)
    yield ""


def _row(row: Demand, tests: Sequence[str]) -> str:
    asks = f"{row.asks} ({row.source})" if row.source else row.asks
    links = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests)
    return _line(
        [f"**{row.id}**: {row.kind}", asks, row.recorded, row.rebuilt, row.checked, row.refused, links]
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") or "-" for cell in cells) + " |"
