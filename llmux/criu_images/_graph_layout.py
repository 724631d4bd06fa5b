"""Where a graph's boxes, rows and links go: two columns of boxes, and every link in the gutter between them.

So no link ever crosses a box or a text, whatever the graph, and the work grows as the graph does.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from llmux.criu_images._graph_model import Box, BoxId, Graph, Link, LinkKind, Place, Row
from llmux.criu_images._graph_order import (
    GAP,
    HEAD,
    ROW,
    Side,
    box_height,
    order_rows,
    take_sides,
)

CELL = 7.3
"""Width of one character of the writer's monospace font at its size, with a little to spare."""
MARGIN = 24.0
TOP = 62.0
_PAD = 12.0
_COLUMN_GAP = 2 * CELL
_WIDEST_HEAD = 60
_BOLD = 1.1
"""How much wider a title is than a row's text."""
_WIDEST = {"held": 22, "what": 60, "other": 24}


@dataclass(frozen=True, slots=True)
class PlacedRow:
    row: Row
    y: float
    """Its middle."""
    held: str
    what: str
    other: str
    linked: bool


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the three texts of a row start, from the box's left edge; and the box's width."""

    held: float
    what: float
    other: float
    width: float


@dataclass(frozen=True, slots=True)
class PlacedBox:
    box: Box
    side: Side
    x: float
    y: float
    width: float
    height: float
    columns: Columns
    title: str
    subtitle: str
    rows: tuple[PlacedRow, ...]

    @property
    def port(self) -> float:
        """Where its links leave: the edge at the gutter."""
        return self.x + self.width if self.side is Side.LEFT else self.x


@dataclass(frozen=True, slots=True)
class PlacedLink:
    """A cubic curve from `start` to `end`."""

    link: Link
    start: tuple[float, float]
    first_control: tuple[float, float]
    second_control: tuple[float, float]
    end: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Layout:
    width: float
    height: float
    boxes: tuple[PlacedBox, ...]
    links: tuple[PlacedLink, ...]


def cells(text: str) -> int:
    """Count the cells that a terminal or a monospace font gives a text."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def clipped(text: str, widest: int) -> str:
    """Cut the middle out of a text that is too wide: of a path the start and the end tell most."""
    if cells(text) <= widest:
        return text
    start, end = _fitting(text, widest // 2), _fitting(text[::-1], widest - widest // 2 - 1)
    return f"{start}…{end[::-1]}"


def _fitting(text: str, widest: int) -> str:
    kept, used = 0, 0
    for char in text:
        used += cells(char)
        if used > widest:
            break
        kept += 1
    return text[:kept]


def lay_out(graph: Graph) -> Layout:
    """Place everything; the same graph always comes out the same."""
    others = _other_ends(graph)
    sides = take_sides(graph)
    order = order_rows(graph, sides)
    linked = {key for link in graph.links for key in (link.source, link.target)}
    by_side = {side: [box for box in graph.boxes if sides[box.id] is side] for side in Side}
    gutter = _gutter(graph, sides)
    columns = {side: _columns(boxes, others) for side, boxes in by_side.items()}
    placed: list[PlacedBox] = []
    x = {Side.LEFT: MARGIN, Side.RIGHT: MARGIN + columns[Side.LEFT].width + gutter}
    for side, boxes in by_side.items():
        y = TOP
        for box in boxes:
            rows = _placed_rows(order[box.id], y + HEAD, others, linked)
            placed.append(_placed_box(box, side, (x[side], y), columns[side], rows))
            y += box_height(box) + GAP
    bottom = max((box.y + box.height for box in placed), default=TOP)
    right = x[Side.RIGHT] + (columns[Side.RIGHT].width if by_side[Side.RIGHT] else 0)
    return Layout(right + MARGIN, bottom + MARGIN, tuple(placed), tuple(_links(graph, placed, gutter)))


def _gutter(graph: Graph, sides: dict[BoxId, Side]) -> float:
    if not graph.links:
        return 60.0 if len(set(sides.values())) > 1 else 0.0
    return min(420.0, 200.0 + 4.0 * len(graph.links))


def _other_ends(graph: Graph) -> dict[str, str]:
    """Write for each row what its links lead to, so that nobody needs to follow a line."""
    rows = {row.key: row for box in graph.boxes for row in box.rows}
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for link in graph.links:
        if link.kind is not LinkKind.HOLDS and link.source != link.target:
            there, back = _ARROWS[link.kind]
            found[link.source].append((there, link.target))
            found[link.target].append((back, link.source))
    return {key: _other_end(rows[key], ends, rows) for key, ends in found.items()}


_ARROWS = {LinkKind.PEER: ("↔", "↔"), LinkKind.SENDS: ("→", "←"), LinkKind.ACCEPTED: ("┄", "┄")}


def _other_end(row: Row, ends: list[tuple[str, str]], rows: dict[str, Row]) -> str:
    arrow, key = ends[0]
    if len(ends) > 1:
        arrows = "".join(sorted({arrow for arrow, _ in ends}))
        return f"{arrows} {len(ends)} ends"
    other = rows[key]
    if isinstance(other.box, Place):
        return f"{arrow} {other.box.value[0].split()[0]}"
    return f"{arrow} {other.held}" if other.box == row.box else f"{arrow} {other.box} {other.held}"


def _columns(boxes: list[Box], others: dict[str, str]) -> Columns:
    """Make the boxes of a column equally wide, wide enough for each row."""
    rows = [row for box in boxes for row in box.rows]
    held = _text_width((row.held for row in rows), "held")
    what = _text_width((_indented(row) for row in rows), "what")
    other = _text_width((others.get(row.key, "") for row in rows), "other")
    heads = (text for box in boxes for text in (box.title, box.subtitle))
    head = max((cells(clipped(text, _WIDEST_HEAD)) * CELL * _BOLD for text in heads), default=0.0)
    starts = Columns(_PAD, _PAD + held, _PAD + held + what, 0.0)
    return replace(starts, width=max(head + 2 * _PAD, starts.other + other + _PAD))


def _text_width(texts: Iterable[str], column: str) -> float:
    widest = max((cells(clipped(text, _WIDEST[column])) for text in texts), default=0)
    return widest * CELL + _COLUMN_GAP if widest else 0.0


def _indented(row: Row) -> str:
    return row.what if row.under is None else f"└ {row.what}"


def _placed_box(
    box: Box, side: Side, corner: tuple[float, float], columns: Columns, rows: tuple[PlacedRow, ...]
) -> PlacedBox:
    title, subtitle = (clipped(text, _WIDEST_HEAD) for text in (box.title, box.subtitle))
    return PlacedBox(box, side, *corner, columns.width, box_height(box), columns, title, subtitle, rows)


def _placed_rows(
    rows: list[Row], top: float, others: dict[str, str], linked: set[str]
) -> tuple[PlacedRow, ...]:
    return tuple(
        PlacedRow(
            row,
            top + ROW * (number + 0.5),
            clipped(row.held, _WIDEST["held"]),
            clipped(_indented(row), _WIDEST["what"]),
            clipped(others.get(row.key, ""), _WIDEST["other"]),
            row.key in linked,
        )
        for number, row in enumerate(rows)
    )


def _links(graph: Graph, boxes: list[PlacedBox], gutter: float) -> Iterator[PlacedLink]:
    ports = {placed.row.key: (box.port, placed.y, box.side) for box in boxes for placed in box.rows}
    for link in graph.links:
        if link.source == link.target:
            continue
        (x1, y1, side1), (x2, y2, side2) = ports[link.source], ports[link.target]
        reach = min(0.9 * gutter, 20.0 + 0.35 * abs(y2 - y1)) if side1 is side2 else 0.55 * gutter
        yield PlacedLink(
            link, (x1, y1), (x1 + side1.inwards * reach, y1), (x2 + side2.inwards * reach, y2), (x2, y2)
        )
