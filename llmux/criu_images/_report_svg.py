"""A dump's graph as SVG, complete in itself: no script, no font, no style from elsewhere; legible on white and on dark."""

from __future__ import annotations

import html
from collections.abc import Iterator

from llmux.criu_images._graph_layout import CELL, MARGIN, PlacedBox, PlacedLink, PlacedRow, lay_out
from llmux.criu_images._graph_model import Box, Graph, LinkKind, Part, Row, box_key
from llmux.criu_images._graph_order import ROW

_STYLE = """\
text{font:12px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;fill:#1f2328;white-space:pre}
.summary{font-size:15px;font-weight:600} .title{font-size:13px;font-weight:600} .soft{fill:#59636e}
.page{fill:#fff} .box{fill:#f6f8fa;stroke:#8c959f} .place{fill:#fff;stroke:#8c959f;stroke-dasharray:5 4} .row rect{fill:none;pointer-events:all}
path{fill:none;stroke-width:1.6} .accepted{stroke-dasharray:2 4}
.sockets{stroke:#2563b0} .pipes{stroke:#237a3b} .files{stroke:#b45309} marker path{stroke:none}
circle.sockets,marker .sockets{fill:#2563b0} circle.pipes,marker .pipes{fill:#237a3b} circle.files,marker .files{fill:#b45309}
.link:hover path{stroke-width:5} .row:hover rect{fill:#8c959f;fill-opacity:.2}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3} .soft{fill:#9198a1} .page{fill:#0d1117} .box{fill:#161b22;stroke:#59636e} .place{fill:#0d1117;stroke:#59636e}
.sockets{stroke:#79b0ff} .pipes{stroke:#56d364} .files{stroke:#f0a04b}
circle.sockets,marker .sockets{fill:#79b0ff} circle.pipes,marker .pipes{fill:#56d364} circle.files,marker .files{fill:#f0a04b}}"""

_LEGEND = {
    Part.SOCKETS: "socket and peer (arrow: one way)",
    Part.PIPES: "pipe, from who writes to who reads",
    Part.FILES: "file that several processes hold",
}
_OWN = "Not drawn: what one process has to itself, as files, epolls, timers."
_SAMPLE = 30.0


def svg_lines(graph: Graph) -> Iterator[str]:
    """Write the picture, line by line."""
    layout = lay_out(graph)
    width = max(layout.width, _legend_width(), len(graph.summary) * CELL * 1.3 + 2 * MARGIN)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{layout.height:.0f}" '
        f'viewBox="0 0 {width:.0f} {layout.height:.0f}" xml:space="preserve">'
    )
    yield f"<title>{_text(graph.summary)}</title>"
    yield f"<style>{_STYLE}</style>"
    yield "<defs>"
    yield from map(_arrow_head, Part)
    yield "</defs>"
    yield f'<rect class="page" width="{width:.0f}" height="{layout.height:.0f}"/>'
    yield _words(MARGIN, 28, "summary", graph.summary)
    yield from _legend()
    rows = {row.key: (box, row) for box in graph.boxes for row in box.rows}
    for link in layout.links:
        yield _link(link, rows)
    for placed in layout.boxes:
        yield from _box(placed)
    yield "</svg>"


def _arrow_head(part: Part) -> str:
    return (
        f'<marker id="to-{part.value}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="9" markerHeight="9" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="{part.value}" d="M0 0L8 4L0 8z"/></marker>'
    )


def _legend() -> Iterator[str]:
    x = MARGIN
    for part, text in _LEGEND.items():
        arrow = _marker(part) if part is Part.PIPES else ""
        yield f'<path class="{part.value}" d="M{x:.1f} 46H{x + _SAMPLE - 6:.1f}"{arrow}/>'
        yield _words(x + _SAMPLE, 50, "soft", text)
        x += _SAMPLE + (len(text) + 2) * CELL
    yield _words(x, 50, "soft", _OWN)


def _legend_width() -> float:
    texts = sum((len(text) + 2) * CELL + _SAMPLE for text in _LEGEND.values())
    return 2 * MARGIN + texts + len(_OWN) * CELL


def _box(placed: PlacedBox) -> Iterator[str]:
    kind = "box" if isinstance(placed.box.id, int) else "place"
    yield f'<g id="{_id(box_key(placed.box.id))}">'
    yield (
        f'<rect class="{kind}" x="{placed.x:.1f}" y="{placed.y:.1f}" width="{placed.width:.1f}" '
        f'height="{placed.height:.1f}" rx="7"/>'
    )
    yield _words(placed.x + placed.columns.held, placed.y + 19, "title", placed.title)
    yield _words(placed.x + placed.columns.held, placed.y + 36, "soft", placed.subtitle)
    yield from (_row(placed, row) for row in placed.rows)
    yield "</g>"


def _row(box: PlacedBox, placed: PlacedRow) -> str:
    row, columns, baseline = placed.row, box.columns, placed.y + 4
    texts = (
        (columns.held, "soft", placed.held),
        (columns.what, "what", placed.what),
        (columns.other, "soft", placed.other),
    )
    cells = "".join(_words(box.x + x, baseline, kind, text) for x, kind, text in texts if text)
    port = (
        f'<circle class="{row.part.value}" cx="{box.port:.1f}" cy="{placed.y:.1f}" r="3"/>'
        if placed.linked
        else ""
    )
    return (
        f'<g id="{_id(row.key)}" class="row"><title>{_text(_tooltip(row))}</title>'
        f'<rect x="{box.x:.1f}" y="{placed.y - ROW / 2:.1f}" width="{box.width:.1f}" height="{ROW:.0f}"/>{cells}{port}</g>'
    )


def _tooltip(row: Row) -> str:
    return "\n".join(filter(None, (row.what, row.held, *row.details)))


def _link(placed: PlacedLink, rows: dict[str, tuple[Box, Row]]) -> str:
    link = placed.link
    points = [
        f"{x:.1f} {y:.1f}" for x, y in (placed.start, placed.first_control, placed.second_control, placed.end)
    ]
    arrow = _marker(link.part) if link.kind is LinkKind.SENDS else ""
    title = " — ".join(_end(*rows[key]) for key in (link.source, link.target))
    return (
        f'<g class="link"><title>{_text(title)}</title>'
        f'<path class="{link.part.value} {link.kind.value}" d="M{points[0]}C{" ".join(points[1:])}"{arrow}/></g>'
    )


def _end(box: Box, row: Row) -> str:
    return " ".join(filter(None, (box.title, row.held, row.what)))


def _marker(part: Part) -> str:
    return f' marker-end="url(#to-{part.value})"'


def _words(x: float, y: float, kind: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{_text(text)}</text>'


def _id(key: str) -> str:
    return _text(key.replace(" ", "-"))


def _text(text: str) -> str:
    """Escape for XML. What no XML may hold does not come this far: names are escaped to printable text when they are read."""
    return html.escape(text)
