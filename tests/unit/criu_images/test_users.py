from __future__ import annotations

import pytest

from llmux.criu_images._dump import read_dump
from llmux.criu_images._users import Role, User, users_of_files

from .conftest import FILE_PRIVATE

FD_8_IN_FLIGHT = (User(7, Role.IN_FLIGHT, 8),)


@pytest.fixture
def users(maker):
    return lambda: users_of_files(read_dump(maker.directory))


def send(maker, **rights):
    """Put files on their way: `to_3=[5]` sends file 5 to socket 3."""
    packets = [
        {"id_for": int(socket.removeprefix("to_")), "length": 1, "scm": [{"type": 1, "rights": files}]}
        for socket, files in rights.items()
    ]
    maker.image("sk-queues.img", "SK_QUEUES", "sk_packet_entry", *packets, payload=b"x")


def test_exe_cwd_root_descriptors_and_mappings(maker, users):
    maker.whole(fds={3: 2, 1: 2})
    maker.task(7, {3: 2, 1: 2}, maker.vma(8192, FILE_PRIVATE, 2), maker.vma(12288, FILE_PRIVATE, 2))
    assert users() == {
        1: (User(7, Role.CWD), User(7, Role.ROOT)),
        2: (User(7, Role.FD, 3), User(7, Role.FD, 1), User(7, Role.MAPPING, 8192), User(7, Role.EXE)),
    }


def test_the_node_of_a_fifo_or_terminal_is_used_by_who_holds_it_open(maker, users):
    fifo = maker.other(4, 3, "fifo", pipe_id=1, regf_id=3)
    terminal = maker.owned(5, 11, "tty", tty_info_id=1, flags=0, regf_id=6)
    maker.whole(
        maker.reg(3, "/fifo", mode=0o10600), fifo, terminal, maker.reg(6, "/dev/pts/0"), fds={6: 4, 0: 5}
    )
    assert users()[3] == (User(7, Role.FD, 6),)
    assert users()[6] == (User(7, Role.FD, 0),)


def test_a_link_remap_is_used_by_who_uses_the_lost_name(maker, users):
    maker.whole(maker.reg(3, "/gone"), maker.reg(4, "/link_remap.4"), fds={5: 3})
    maker.remaps({"orig_id": 3, "remap_id": 4, "remap_type": 0})
    assert users()[4] == (User(7, Role.FD, 5),)


def test_what_is_on_its_way_is_used_by_who_holds_the_socket(maker, users):
    maker.whole(maker.unix(3), maker.reg(5, "/sent"), fds={8: 3})
    send(maker, to_3=[5])
    assert users()[5] == FD_8_IN_FLIGHT


def test_sockets_on_their_way_carry_files_with_them_however_deep(maker, users):
    maker.whole(*(maker.unix(number) for number in range(3, 7)), maker.reg(9, "/sent"), fds={8: 3})
    send(maker, to_6=[9], to_5=[6], to_4=[5], to_3=[4])
    assert all(users()[file] == FD_8_IN_FLIGHT for file in (4, 5, 6, 9))


def test_a_socket_sent_to_itself_does_not_go_round_for_ever(maker, users):
    maker.whole(maker.unix(3), fds={8: 3})
    send(maker, to_3=[3])
    assert users()[3] == (User(7, Role.FD, 8), *FD_8_IN_FLIGHT)


def test_what_is_sent_to_nobody_has_no_user(maker, users):
    maker.whole(maker.unix(3), maker.reg(5, "/sent"))
    send(maker, to_3=[5])
    assert users().get(5, ()) == ()
