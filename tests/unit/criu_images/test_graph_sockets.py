from __future__ import annotations

from llmux.criu_images._graph_model import LinkKind, Place

from .graphs import drawn, graph_of, linked, rows_of, two_tasks


def test_a_pair_is_linked_once_and_an_accepted_end_stands_under_its_listener(maker):
    listener = maker.unix(3, b"/run/s\0", state=10)
    two_tasks(
        maker,
        maker.unix(4, b"/run/s\0", peer=105),
        listener,
        maker.unix(5, peer=104),
        first={3: 3, 4: 4},
        second={5: 5},
    )
    graph = graph_of(maker)
    assert linked(graph, LinkKind.PEER) == {("file 4", "file 5")}
    rows = rows_of(graph)
    assert (rows["file 4"].under, rows["file 4"].what) == ("file 3", "unix stream accepted")
    assert (rows["file 3"].what, rows["file 5"].what) == ("unix stream LISTEN /run/s", "unix stream")


def test_what_another_process_accepted_is_linked_with_the_listener(maker):
    listener = maker.unix(3, b"/run/s\0", state=10)
    accepted, client = maker.unix(4, b"/run/s\0", peer=105), maker.unix(5, peer=104)
    two_tasks(maker, listener, accepted, client, first={3: 3, 5: 5}, second={4: 4})
    graph = graph_of(maker)
    assert linked(graph, LinkKind.ACCEPTED) == {("file 3", "file 4")}
    assert rows_of(graph)["file 4"].what == "unix stream accepted at /run/s"


def test_a_worker_that_holds_the_listener_too_has_its_connections_below_it(maker):
    listener = maker.unix(3, b"/run/s\0", state=10)
    accepted, client = maker.unix(4, b"/run/s\0", peer=105), maker.unix(5, peer=104)
    two_tasks(maker, listener, accepted, client, first={3: 3, 5: 5}, second={3: 3, 4: 4})
    assert rows_of(graph_of(maker))["file 4"].under == "file 3 of 9"


def test_a_datagram_socket_sends_to_its_destination(maker):
    maker.whole(maker.unix(3, b"/d\0", type=2, state=7), maker.unix(4, type=2, peer=103), fds={3: 3, 4: 4})
    assert linked(graph_of(maker), LinkKind.SENDS) == {("file 4", "file 3")}


def test_a_socket_that_is_its_own_peer(maker):
    maker.whole(maker.unix(3, b"/d\0", type=2, state=7, peer=103), fds={3: 3})
    assert linked(graph_of(maker), LinkKind.PEER) == {("file 3", "file 3")}


def test_peers_outside_the_dump_have_a_box(maker):
    external = maker.unix(4, b"/out\0", type=2, state=7, uflags=1)
    maker.whole(maker.unix(3, peer=999), external, maker.unix(5, type=2, peer=104), fds={3: 3, 5: 5})
    graph = graph_of(maker)
    outside = [what for box, _, what in drawn(graph) if box is Place.OUTSIDE]
    assert outside == ["unix dgram UNCONN /out", "unix socket, inode 999"]
    assert linked(graph, LinkKind.SENDS) == {("file 3", "socket 999"), ("file 5", "file 4")}


def test_a_socket_that_nobody_holds_is_drawn_with_what_waits_in_it(maker):
    maker.whole(maker.unix(3, b"/s\0", state=10), fds={})
    maker.image("sk-queues.img", "SK_QUEUES", "sk_packet_entry", {"id_for": 3, "length": 5}, payload=b"hello")
    (row,) = (row for row in rows_of(graph_of(maker)).values() if row.box is Place.NOBODY)
    assert row.details == ("inode 103, LISTEN", "/s", "1 message not read yet, 5 bytes")


def test_tcp_ends_in_the_dump_are_peers_and_hosts_outside_one_row_each(maker):
    local, remote = [0x0100007F], [0x0200000A]
    maker.whole(
        maker.inet(3),
        maker.inet(4, state=1, dst_port=5000, dst_addr=local),
        maker.inet(5, state=1, src_port=5000, dst_port=80, dst_addr=local),
        maker.inet(6, state=1, dst_port=5001, dst_addr=remote),
        maker.inet(7, state=1, dst_port=5002, dst_addr=remote),
        fds={number: number for number in range(3, 8)},
    )
    graph = graph_of(maker)
    assert linked(graph, LinkKind.PEER) == {
        ("file 4", "file 5"),
        ("file 6", "host 10.0.0.2"),
        ("file 7", "host 10.0.0.2"),
    }
    rows = rows_of(graph)
    assert [rows[f"file {number}"].under for number in range(3, 8)] == [
        None,
        "file 3",
        None,
        "file 3",
        "file 3",
    ]
    assert rows["file 4"].what == "tcp accepted from 127.0.0.1:5000"
    assert rows["file 5"].what == "tcp 127.0.0.1:5000 to 127.0.0.1:80"
    assert (rows["host 10.0.0.2"].what, rows["host 10.0.0.2"].details) == (
        "10.0.0.2, 2 ports",
        ("ports 5001-5002",),
    )


def test_a_connected_datagram_socket_sends_to_who_is_bound_to_every_address(maker):
    server = maker.inet(3, proto=17, type=2, state=7, src_addr=[0])
    client = maker.inet(4, proto=17, type=2, state=1, src_port=90, dst_port=80, dst_addr=[0x0100007F])
    maker.whole(server, client, fds={3: 3, 4: 4})
    assert linked(graph_of(maker), LinkKind.SENDS) == {("file 4", "file 3")}


def test_many_ports_of_one_host_are_cut(maker):
    clients = [maker.inet(n, state=1, dst_port=2 * n, dst_addr=[0x0200000A]) for n in range(3, 203)]
    maker.whole(*clients, fds={n: n for n in range(3, 203)})
    (details,) = rows_of(graph_of(maker))["host 10.0.0.2"].details
    assert details.startswith("ports 6 8 10 ")
    assert details.endswith("…")
