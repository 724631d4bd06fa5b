from __future__ import annotations

from llmux.criu_images._report_dot import dot_lines

from .graphs import graph_of, two_tasks


def dot_of(maker) -> str:
    return "\n".join(dot_lines(graph_of(maker)))


def test_the_graph_draws_a_pair_once_and_quotes_names(maker):
    maker.busy()
    graph = dot_of(maker)
    assert '"file 7" -> "file 8" [dir=none' in graph
    assert '"file 8" -> "file 7"' not in graph
    assert '"file 11" -> "socket 999" [penwidth' in graph
    assert r'"file 9" [label="fd' not in graph  # nobody holds it
    assert r"@name\\x00x" in graph
    assert graph.startswith("digraph dump {")
    assert graph.endswith("}")


def test_each_process_is_a_cluster_also_one_that_holds_nothing(maker):
    two_tasks(maker, maker.unix(3, state=10), first={4: 3}, second={})
    graph = dot_of(maker)
    assert 'subgraph "cluster task 7" {\n    label="comm7(7)\\nroot of the tree"' in graph
    assert '"file 3" [label="fd 4\\nunix stream LISTEN", tooltip="unix stream LISTEN\\ninode 103' in graph
    assert '"task 9" [label="", shape=point, style=invis];' in graph


def test_an_accepted_connection_hangs_on_its_listener(maker):
    listener, accepted = maker.unix(3, b"/s\0", state=10), maker.unix(4, b"/s\0", peer=999)
    maker.whole(listener, accepted, fds={3: 3, 4: 4})
    assert '"file 3" -> "file 4" [style=dashed' in dot_of(maker)


def test_what_graphviz_would_read_as_markup_is_text(maker):
    maker.whole(maker.unix(3, b'/"]&lt;\\N\0', state=10), fds={3: 3})
    assert r'label="fd 3\nunix stream LISTEN /\"]&amp;lt;\\\\N"' in dot_of(maker)
