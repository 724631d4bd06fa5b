from __future__ import annotations

import pytest

from llmux.criu_images._graph import take_graph
from llmux.criu_images._graph_model import Part
from llmux.criu_images._records import InetSocket, NetlinkSocket, PacketSocket, UnixSocket

from . import live
from .graphs import graph_of, rows_of
from .live import dump_of

SOCKETS = UnixSocket | InetSocket | NetlinkSocket | PacketSocket


def test_the_summary_counts_what_is_there(maker):
    maker.busy()
    assert graph_of(maker).summary == "2 processes, 6 Unix sockets, 2 inet sockets, 1 pipe"
    assert graph_of(maker, frozenset({Part.PIPES})).summary == "2 processes, 1 pipe"


@pytest.mark.parametrize("part", Part)
def test_one_part_alone_is_that_part_of_the_whole(part):
    dump = dump_of("vllm")
    whole, alone = take_graph(dump), take_graph(dump, frozenset({part}))
    assert rows_of(alone) == {key: row for key, row in rows_of(whole).items() if row.part is part}
    assert alone.links == tuple(link for link in whole.links if link.part is part)


@pytest.mark.parametrize("name", live.NAMES)
def test_every_link_of_every_fixture_joins_two_rows_and_every_process_has_a_box(name):
    dump = dump_of(name)
    graph = take_graph(dump)
    rows = rows_of(graph)
    assert all(link.source in rows and link.target in rows for link in graph.links)
    assert [box.id for box in graph.boxes][: len(dump.tasks)] == [task.pid for task in dump.tasks]
    assert all(row.under is None or rows[row.under].box == row.box for row in rows.values())
    assert all(f"file {file.id}" in rows for file in dump.files.values() if isinstance(file, SOCKETS))
