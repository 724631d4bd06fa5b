from __future__ import annotations

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._inventory import take_inventory
from llmux.criu_images._report_dot import render_dot


@pytest.fixture
def busy(maker):
    maker.busy()
    dump = read_dump(maker.directory)
    return dump, take_inventory(dump)


def test_the_graph_draws_a_pair_once_and_quotes_names(busy):
    graph = render_dot(*busy)
    assert graph.count('"socket 107" -- "socket 108"') == 1
    assert '"socket 108" -- "socket 107"' not in graph
    assert '"socket 111" -- "socket 999" [dir=forward' in graph
    assert '"task 7" -- "socket 106" [label="fd 3"]' in graph
    assert r"@name\\x00x" in graph
    assert graph.startswith("graph unix_sockets {")
    assert graph.endswith("}")
