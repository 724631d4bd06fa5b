"""A dump's graph in Graphviz's DOT language, for those who have Graphviz and want a layout or an output format of their own."""

from __future__ import annotations

from collections.abc import Iterator

from llmux.criu_images._graph_model import Box, Graph, Link, LinkKind, Part, Row, box_key

_STYLES = {
    LinkKind.PEER: "dir=none, penwidth=2",
    LinkKind.SENDS: "penwidth=2",
    LinkKind.ACCEPTED: "style=dashed, dir=none",
    LinkKind.HOLDS: "dir=none",
}
_COLOURS = {Part.SOCKETS: "#2563b0", Part.PIPES: "#237a3b", Part.FILES: "#b45309"}


def dot_lines(graph: Graph) -> Iterator[str]:
    """Write a cluster for each box, a node for each row and an edge for each link."""
    yield "digraph dump {"
    yield f"  label={_quoted(graph.summary)};"
    yield "  rankdir=LR;"
    yield '  node [shape=box, fontname="monospace"];'
    for box in graph.boxes:
        yield from _cluster(box)
    for link in graph.links:
        yield f"  {_edge(link)}"
    yield "}"


def _cluster(box: Box) -> Iterator[str]:
    key = box_key(box.id)
    yield f"  subgraph {_quoted(f'cluster {key}')} {{"
    label = f"{box.title}\n{box.subtitle}"
    yield f"    label={_quoted(label)};"
    if not box.rows:  # Graphviz draws no empty cluster.
        yield f'    {_quoted(key)} [label="", shape=point, style=invis];'
    for row in box.rows:
        yield f"    {_node(row)}"
        if row.under is not None:
            yield f"    {_quoted(row.under)} -> {_quoted(row.key)} [{_STYLES[LinkKind.ACCEPTED]}];"
    yield "  }"


def _node(row: Row) -> str:
    label = "\n".join(filter(None, (row.held, row.what)))
    tooltip = "\n".join((row.what, *row.details))
    return f'{_quoted(row.key)} [label={_quoted(label)}, tooltip={_quoted(tooltip)}, color="{_COLOURS[row.part]}"];'


def _edge(link: Link) -> str:
    colour = _COLOURS[link.part]
    return f'{_quoted(link.source)} -> {_quoted(link.target)} [{_STYLES[link.kind]}, color="{colour}"];'


def _quoted(text: str) -> str:
    """Quote as DOT reads it: a backslash would start an escape of its own, an ampersand an entity of HTML's."""
    escaped = text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
