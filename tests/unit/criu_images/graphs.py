"""What the tests of the graph's modules ask of a graph."""

from __future__ import annotations

from llmux.criu_images._dump import read_dump
from llmux.criu_images._graph import EVERY_PART, take_graph
from llmux.criu_images._graph_model import Graph, LinkKind, Row


def graph_of(maker, parts=EVERY_PART) -> Graph:
    return take_graph(read_dump(maker.directory), parts)


def rows_of(graph: Graph) -> dict[str, Row]:
    return {row.key: row for box in graph.boxes for row in box.rows}


def drawn(graph: Graph) -> list[tuple[object, str, str]]:
    """Return each row as box, descriptors and text."""
    return [(box.id, row.held, row.what) for box in graph.boxes for row in box.rows]


def linked(graph: Graph, kind: LinkKind) -> set[tuple[str, str]]:
    return {(link.source, link.target) for link in graph.links if link.kind is kind}


def two_tasks(maker, *files, first: dict[int, int], second: dict[int, int], mapped=((), ())) -> None:
    """Write a dump of process 7 and its child 9, with descriptors and mappings for each."""
    maker.whole(*files)
    child = {"pid": 9, "ppid": 7, "pgid": 7, "sid": 7, "threads": [9]}
    maker.tree({"pid": 7, "ppid": 0, "pgid": 7, "sid": 7, "threads": [7]}, child)
    maker.task(7, first, *mapped[0])
    maker.task(9, second, *mapped[1])
