from __future__ import annotations

from llmux.criu_images._graph_model import LinkKind, Part, Place

from .conftest import FILE_PRIVATE, FILE_SHARED
from .graphs import drawn, graph_of, linked, rows_of, two_tasks

FILES = frozenset({Part.FILES})


def mapped(maker, number, status=FILE_SHARED, protection=3, flags=1):
    return maker.vma(8192, status, number) | {"prot": protection, "flags": flags}


def shared(maker):
    return [what for box, _, what in drawn(graph_of(maker, FILES)) if box is Place.SHARED]


def test_a_file_opened_by_two_is_one_row_with_its_holders(maker):
    two_tasks(maker, maker.reg(3, "/log", size=2048), maker.reg(4, "/log"), first={1: 3}, second={1: 4, 2: 4})
    graph = graph_of(maker, FILES)
    assert drawn(graph) == [(7, "fd 1", "/log"), (9, "fd 1 2", "/log"), (Place.SHARED, "", "/log")]
    assert linked(graph, LinkKind.HOLDS) == {("file 3 of 7", "file 3"), ("file 3 of 9", "file 3")}
    assert rows_of(graph)["file 3"].details == ("2.0 KiB",)


def test_what_one_process_has_to_itself_is_not_drawn(maker):
    maker.whole(maker.reg(3, "/log"), fds={1: 3, 2: 3})
    assert drawn(graph_of(maker, FILES)) == []


def test_memory_that_two_map_and_one_writes_is_shared(maker):
    areas = (mapped(maker, 3),), (mapped(maker, 3, protection=1),)
    two_tasks(maker, maker.reg(3, "/dev/shm/a"), first={}, second={}, mapped=areas)
    assert drawn(graph_of(maker, FILES))[0] == (7, "mapped", "/dev/shm/a")


def test_programs_devices_and_libraries_are_counted(maker):
    areas = tuple(tuple(mapped(maker, number, FILE_PRIVATE, 5, 2) for number in (3, 4)) for _ in range(2))
    devices = maker.reg(5, "/dev/null", mode=0o20666)
    two_tasks(
        maker,
        maker.reg(3, "/lib/a"),
        maker.reg(4, "/lib/b"),
        devices,
        first={0: 5},
        second={0: 5},
        mapped=areas,
    )
    assert shared(maker) == ["/dev/null", "2 programs, libraries and other files that are only read"]
    assert rows_of(graph_of(maker))["only-read"].details == ("/lib/a", "/lib/b")


def test_a_lost_name_says_what_stands_in_for_it_and_that_is_not_drawn_again(maker):
    link = maker.reg(4, "/dev/shm/link_remap.4")
    two_tasks(
        maker,
        maker.reg(3, "/dev/shm/sem.x"),
        link,
        maker.reg(5, "/gone"),
        first={3: 3, 5: 5},
        second={3: 3, 5: 5},
    )
    maker.remaps(
        {"orig_id": 3, "remap_id": 4, "remap_type": 0}, {"orig_id": 5, "remap_id": 1, "remap_type": 1}
    )
    maker.ghost(1)
    assert shared(maker) == ["/dev/shm/sem.x", "/gone"]
    rows = rows_of(graph_of(maker))
    assert rows["file 3"].details == ("deleted; restored by way of /dev/shm/link_remap.4",)
    assert rows["file 5"].details == ("deleted; its content is in the images",)


def test_memfds_terminals_and_other_files_are_shared_too(maker):
    terminal = maker.owned(5, 11, "tty", tty_info_id=1, flags=0, regf_id=6)
    memfd = maker.owned(3, 18, "memfd", flags=0, pos=0, inode_id=1)
    inode = {"inode_id": 1, "name": "m", "shmid": 0, "seals": 0, "uid": 0, "gid": 0, "size": 5}
    files = (
        memfd,
        terminal,
        maker.reg(6, "/dev/pts/0", mode=0o20620),
        maker.owned(7, 6, "efd", flags=2, counter=1),
    )
    fds = {3: 3, 5: 5, 7: 7}
    two_tasks(maker, *files, first=fds, second=fds)
    maker.image("memfd.img", "MEMFD_INODE", "memfd_inode_entry", inode)
    assert shared(maker) == ["memfd m", "terminal /dev/pts/0", "eventfd 0x7"]
