"""docs/scheduling.md: its tables are what the simulation says, and fair's 99th percentile is the least of all."""

from pathlib import Path

import documented_traces
import pytest

PAGE = Path(__file__).resolve().parents[4] / "docs" / "scheduling.md"


@pytest.mark.parametrize("one", documented_traces.traces(), ids=lambda one: one.title)
def test_fair_waits_no_longer_than_the_best_of_the_others_and_the_page_says_so(one):
    summaries = one.summaries()
    fair = summaries.pop("fair")
    assert fair.p99 <= min(summary.p99 for summary in summaries.values())
    assert f"### {one.title}\n\n{one.says} {len(one.trace)} requests.\n" in PAGE.read_text("utf-8")
    for name, summary in {"fair": fair, **summaries}.items():
        assert "| " + " | ".join(documented_traces.row(name, summary)) + " |\n" in PAGE.read_text("utf-8")


def test_the_picture_is_what_the_simulation_says():
    assert PAGE.with_suffix(".svg").read_text("utf-8") == documented_traces.picture()
