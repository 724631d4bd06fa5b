from __future__ import annotations

import json

import pytest

from llmux.criu_images._stats import read_stats, render_stats_json, stats_tables
from llmux.criu_images._table import plain_lines

from .live import IMAGES, NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.demand("statistics")
def test_what_criu_measured_of_each_fixture(name):
    stats = read_stats(IMAGES / name)
    assert stats["dump"]["frozen_time"] > 0
    assert stats["dump"]["pages_written"] <= stats["dump"]["pages_scanned"]
    assert stats["images"]["bytes"] == sum(path.stat().st_size for path in (IMAGES / name).glob("*.img"))
    assert json.loads(render_stats_json(stats))["restore"] is None


def test_times_are_seconds_and_what_is_not_there_is_left_out(maker):
    maker.whole()
    (maker.directory / "pages-1.img").write_bytes(b"12345678")
    times = {"forking_time": 1500, "restore_time": 2, "pages_compared": 1, "pages_skipped_cow": 0}
    maker.image("stats-restore", "STATS", "stats_entry", {"restore": times})
    stats = read_stats(maker.directory)
    text = "\n".join(plain_lines(stats_tables(stats)))
    assert "forking_time       0.001500 s" in text
    assert "pages_compared     1 page" in text
    assert "Dump" not in text
    assert stats["images"]["page_bytes"] == 8
    assert json.loads(render_stats_json(stats))["dump"] is None
