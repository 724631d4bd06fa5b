"""Which column each box of a graph stands in, and in which order its rows are, so that links are short and cross seldom."""

from __future__ import annotations

import enum
from collections import defaultdict
from typing import TypeAlias

from llmux.criu_images._graph_model import Box, BoxId, Graph, Part, Row

ROW = 18.0
"""Height of a row."""
HEAD = 46.0
"""Height of a box's title and subtitle."""
FOOT = 8.0
GAP = 20.0
"""Between two boxes of a column."""

_SWEEPS = 4
_PARTS = list(Part)

_Block: TypeAlias = list[Row]
"""A row and those under it, which stay together."""


class Side(enum.Enum):
    """A column; the value is the direction of the gutter, seen from it."""

    LEFT = 1
    RIGHT = -1

    @property
    def inwards(self) -> int:
        return self.value


def box_height(box: Box) -> float:
    return HEAD + ROW * len(box.rows) + FOOT if box.rows else HEAD


def take_sides(graph: Graph) -> dict[BoxId, Side]:
    """Put each box across the gutter from most of what it has links to; where that decides nothing, in the shorter column."""
    between = _numbers_of_links(graph)
    sides: dict[BoxId, Side] = {}
    heights = dict.fromkeys(Side, 0.0)
    for box in graph.boxes:
        pull = dict.fromkeys(Side, 0)
        for other, number in between[box.id].items():
            if other in sides:
                pull[sides[other]] += number
        side = min(Side, key=lambda side: (pull[side], heights[side]))
        sides[box.id] = side
        heights[side] += box_height(box) + GAP
    return sides


def _numbers_of_links(graph: Graph) -> defaultdict[BoxId, defaultdict[BoxId, int]]:
    box_of = {row.key: box.id for box in graph.boxes for row in box.rows}
    between: defaultdict[BoxId, defaultdict[BoxId, int]] = defaultdict(lambda: defaultdict(int))
    for link in graph.links:
        one, other = box_of[link.source], box_of[link.target]
        between[one][other] += 1
        between[other][one] += 1
    return between


def order_rows(graph: Graph, sides: dict[BoxId, Side]) -> dict[BoxId, list[Row]]:
    """Order a box's rows by part, an accepted connection under its listener, and else by how high their links lead."""
    order = {box.id: _blocks(box) for box in graph.boxes}
    ends: defaultdict[str, list[str]] = defaultdict(list)
    for link in graph.links:
        ends[link.source].append(link.target)
        ends[link.target].append(link.source)
    y, tops = _first_heights(graph, sides, order)
    for _ in range(_SWEEPS):
        for box, blocks in order.items():
            own = {row.key for block in blocks for row in block}
            ranks = {block[0].key: _rank(block, own, ends, y) for block in blocks}
            blocks.sort(key=lambda block: ranks[block[0].key])
            y.update(_heights(blocks, tops[box]))
    return {box: [row for block in blocks for row in block] for box, blocks in order.items()}


def _blocks(box: Box) -> list[_Block]:
    under: defaultdict[str | None, list[Row]] = defaultdict(list)
    for row in box.rows:
        under[row.under].append(row)
    return [[row, *under[row.key]] for row in under[None]]


def _first_heights(
    graph: Graph, sides: dict[BoxId, Side], order: dict[BoxId, list[_Block]]
) -> tuple[dict[str, float], dict[BoxId, float]]:
    """Return where each row and each box starts; a box stays where it is while its rows change places."""
    y: dict[str, float] = {}
    tops: dict[BoxId, float] = {}
    bottoms = dict.fromkeys(Side, 0.0)
    for box in graph.boxes:
        side = sides[box.id]
        tops[box.id] = bottoms[side]
        y.update(_heights(order[box.id], bottoms[side]))
        bottoms[side] += box_height(box) + GAP
    return y, tops


def _heights(blocks: list[_Block], top: float) -> dict[str, float]:
    rows = (row for block in blocks for row in block)
    return {row.key: top + HEAD + ROW * number for number, row in enumerate(rows)}


def _rank(
    block: _Block, own: set[str], ends: dict[str, list[str]], y: dict[str, float]
) -> tuple[int, bool, float]:
    """Rank by the mean height of the other ends; two ends in one box meet halfway, which makes them neighbours."""
    heights = [
        (y[other] + y[row.key]) / 2 if other in own else y[other]
        for row in block
        for other in ends.get(row.key, ())
    ]
    return _PARTS.index(block[0].part), bool(heights), sum(heights) / len(heights) if heights else 0.0
