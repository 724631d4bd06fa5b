from __future__ import annotations

from llmux.criu_images._graph_model import Box, Graph, Link, LinkKind, Part, Row
from llmux.criu_images._graph_order import Side, order_rows, take_sides


def graph(links: str, rows: dict[int, str], under: dict[str, str] | None = None) -> Graph:
    """Make boxes of rows with one letter each, linked as in `ab cd`."""
    boxes = tuple(
        Box(
            pid,
            "",
            "",
            tuple(Row(key, Part.SOCKETS, pid, "", key, (), (under or {}).get(key)) for key in keys),
        )
        for pid, keys in rows.items()
    )
    joined = tuple(Link(one, other, Part.SOCKETS, LinkKind.PEER) for one, other in links.split())
    return Graph("", boxes, joined)


def ordered(made: Graph) -> dict[int, str]:
    return {box: "".join(row.key for row in rows) for box, rows in order_rows(made, take_sides(made)).items()}


def test_boxes_with_links_between_them_stand_across_the_gutter():
    sides = take_sides(graph("ab cd", {1: "ac", 2: "b", 3: "d"}))
    assert sides == {1: Side.LEFT, 2: Side.RIGHT, 3: Side.RIGHT}


def test_boxes_without_links_fill_the_shorter_column():
    assert list(take_sides(graph("", {1: "abc", 2: "d", 3: "e"})).values()) == [
        Side.LEFT,
        Side.RIGHT,
        Side.RIGHT,
    ]


def test_rows_are_in_the_order_of_what_they_lead_to():
    assert ordered(graph("ad be cf", {1: "cba", 2: "def"})) in ({1: "abc", 2: "def"}, {1: "cba", 2: "fed"})


def test_a_pair_in_one_box_becomes_neighbours():
    assert ordered(graph("ad", {1: "abcd"})) == {1: "bcad"}


def test_accepted_rows_stay_under_their_listener_and_parts_together():
    made = graph("by cz", {1: "labc", 2: "zy"}, under={"b": "l", "c": "l"})
    assert ordered(made)[1] in {"albc", "alcb"}
