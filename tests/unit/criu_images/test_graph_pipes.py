from __future__ import annotations

from llmux.criu_images._graph_model import LinkKind, Place

from .graphs import drawn, graph_of, linked, rows_of, two_tasks

READ, WRITE = 0, 1


def pipe(maker, number, pipe_id, flags):
    return maker.owned(number, 2, "pipe", pipe_id=pipe_id, flags=flags)


def test_a_pipe_leads_from_who_writes_to_who_reads(maker):
    two_tasks(maker, pipe(maker, 3, 0xA, READ), pipe(maker, 4, 0xA, WRITE), first={3: 3}, second={4: 4})
    graph = graph_of(maker)
    assert drawn(graph)[:2] == [(7, "fd 3", "pipe 0xa, reads"), (9, "fd 4", "pipe 0xa, writes")]
    assert linked(graph, LinkKind.SENDS) == {("pipe 10 1 of 9", "pipe 10 0 of 7")}


def test_pipes_that_one_process_has_to_itself_are_one_row(maker):
    ends = [pipe(maker, 3 + number, number // 2, number % 2) for number in range(10)]
    maker.whole(*ends, fds={number: number for number in range(3, 13)})
    maker.image(
        "pipes-data.img",
        "PIPES_DATA",
        "pipe_data_entry",
        {"pipe_id": 1, "bytes": 2, "size": 4096},
        payload=b"ab",
    )
    (row,) = rows_of(graph_of(maker)).values()
    assert (row.held, row.what, len(row.details)) == ("", "5 pipes held by nobody else", 5)
    assert row.details[:2] == (
        "pipe 0x0: reads fd 3, writes fd 4",
        "pipe 0x1: reads fd 5, writes fd 6, 2 bytes not read yet",
    )


def test_one_pipe_alone_keeps_its_name(maker):
    maker.whole(pipe(maker, 3, 0xA, READ), fds={3: 3})
    assert drawn(graph_of(maker)) == [(7, "fd 3", "pipe 0xa, held by nobody else")]


def test_many_writers_and_readers_meet_in_the_pipe(maker):
    ends = pipe(maker, 3, 0xA, READ), pipe(maker, 4, 0xA, WRITE)
    two_tasks(maker, *ends, first={3: 3, 4: 4}, second={3: 3, 4: 4})
    graph = graph_of(maker)
    assert rows_of(graph)["pipe 10"].box is Place.SHARED
    assert linked(graph, LinkKind.SENDS) == {
        ("pipe 10 1 of 7", "pipe 10"),
        ("pipe 10 1 of 9", "pipe 10"),
        ("pipe 10", "pipe 10 0 of 7"),
        ("pipe 10", "pipe 10 0 of 9"),
    }


def test_a_fifo_has_its_name_and_its_node_s_access(maker):
    nodes = maker.reg(3, "/f\n", mode=0o10600, flags=READ), maker.reg(5, "/f\n", mode=0o10600, flags=WRITE)
    fifos = maker.other(4, 3, "fifo", pipe_id=1, regf_id=3), maker.other(6, 3, "fifo", pipe_id=1, regf_id=5)
    two_tasks(maker, *nodes, *fifos, first={4: 4}, second={6: 6})
    graph = graph_of(maker)
    assert drawn(graph)[:2] == [(7, "fd 4", r"fifo /f\n, reads"), (9, "fd 6", r"fifo /f\n, writes")]
    assert linked(graph, LinkKind.SENDS) == {("pipe 1 1 of 9", "pipe 1 0 of 7")}


def test_a_pipe_that_nobody_holds_is_drawn(maker):
    maker.whole(pipe(maker, 3, 0xA, READ))
    assert drawn(graph_of(maker)) == [(Place.NOBODY, "", "pipe 0xa")]
