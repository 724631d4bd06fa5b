from __future__ import annotations

from llmux.criu_images._graph_model import Place, held_by, shortened
from llmux.criu_images._users import Role, User

from .graphs import drawn, graph_of, two_tasks


def test_what_a_process_holds_a_thing_by_is_one_text():
    users = [User(7, Role.FD, 10), User(7, Role.FD, 9), User(7, Role.MAPPING, 4096), User(7, Role.CWD)]
    assert held_by([*users, User(9, Role.IN_FLIGHT, 3), User(11, Role.EXE)]) == {
        7: "fd 9 10, mapped",
        9: "in flight to fd 3",
    }


def test_what_two_hold_is_a_row_of_its_own_and_one_for_each_holder(maker):
    two_tasks(maker, maker.unix(3, b"/s\0", state=10), first={4: 3}, second={5: 3, 6: 3})
    text = "unix stream LISTEN /s"
    graph = graph_of(maker)
    assert drawn(graph)[:3] == [(7, "fd 4", text), (9, "fd 5 6", text), (Place.SHARED, "", text)]
    assert {(link.source, link.target) for link in graph.links} == {
        ("file 3 of 7", "file 3"),
        ("file 3 of 9", "file 3"),
    }


def test_a_box_names_the_parent_the_threads_and_a_state_out_of_the_ordinary(maker):
    maker.busy()
    assert [(box.title, box.subtitle) for box in graph_of(maker).boxes if isinstance(box.id, int)] == [
        ("comm7(7)", "root of the tree, 2 threads"),
        ("comm9(9)", "child of comm7(7), zombie"),
    ]


def test_long_details_are_cut_and_counted():
    assert shortened(["a"] * 40) == ("a",) * 40
    assert shortened(["a"] * 43) == (*("a",) * 40, "and 3 more")
