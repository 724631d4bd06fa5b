from __future__ import annotations

from itertools import pairwise

import pytest

from llmux.criu_images._graph import take_graph
from llmux.criu_images._graph_layout import CELL, cells, clipped, lay_out
from llmux.criu_images._graph_order import HEAD, ROW, Side

from . import live
from .graphs import graph_of
from .live import dump_of


def assert_nothing_overlaps(graph):
    layout = lay_out(graph)
    columns = {side: [box for box in layout.boxes if box.side is side] for side in Side}
    for boxes in columns.values():
        assert all(above.y + above.height < below.y for above, below in pairwise(boxes))
    right = max((box.x + box.width for box in columns[Side.LEFT]), default=0.0)
    left = min((box.x for box in columns[Side.RIGHT]), default=layout.width)
    for box in layout.boxes:
        assert 0 < box.x < box.x + box.width < layout.width
        assert box.y + box.height < layout.height
        assert max(cells(box.title), cells(box.subtitle)) * CELL < box.width
        assert all(below.y - above.y == pytest.approx(ROW) for above, below in pairwise(box.rows))
        for row in box.rows:
            assert box.y + HEAD < row.y < box.y + box.height
            assert box.columns.held + cells(row.held) * CELL <= box.columns.what or not row.held
            assert box.columns.what + cells(row.what) * CELL <= box.columns.other
            assert box.columns.other + cells(row.other) * CELL <= box.width
    for link in layout.links:  # A cubic curve stays between its points.
        xs = [x for x, _ in (link.start, link.first_control, link.second_control, link.end)]
        assert min(xs) >= right
        assert max(xs) <= max(left, right)


@pytest.mark.parametrize("name", live.NAMES)
def test_nothing_overlaps_in_any_fixture(name):
    assert_nothing_overlaps(take_graph(dump_of(name)))


def test_nothing_overlaps_with_two_hundred_sockets_and_long_wide_names(maker):
    names = ["界" * 30 + str(number) for number in range(200)]
    sockets = [maker.unix(3 + n, f"/{name}\0".encode(), state=10) for n, name in enumerate(names)]
    maker.whole(*sockets, fds={number: number for number in range(3, 203)})
    assert_nothing_overlaps(graph_of(maker))


def test_a_row_says_where_its_other_end_is():
    layout = lay_out(take_graph(dump_of("vllm")))
    others = {(box.box.id, row.held): row.other for box in layout.boxes for row in box.rows}
    assert others[1000, "fd 33"] == "↔ 1019 fd 49"
    assert others[1000, "fd 9"] == "↔ fd 10"
    assert others[1018, "fd 30"] == "← 3 ends"
    assert others[1000, "fd 1 2"] == ""


@pytest.mark.parametrize(
    ("text", "short"), [("abcdefg", "abcdefg"), ("abcdefgh", "abc…fgh"), ("界界界界", "界…界"), ("", "")]
)
def test_the_middle_of_a_wide_text_is_cut_out(text, short):
    assert clipped(text, 7) == short
    assert cells(short) <= 7
