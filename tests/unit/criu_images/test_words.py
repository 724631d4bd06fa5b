from __future__ import annotations

from typing import get_args

import pytest

from llmux.criu_images import _words as words
from llmux.criu_images._enums import FileType, SocketState, SocketType, TaskState
from llmux.criu_images._records import File, Notify, OtherFile
from llmux.criu_images._users import Role, User


def test_numbers_with_and_without_a_name():
    assert words.member(TaskState.ZOMBIE) == "zombie"
    assert words.socket_type(SocketType.SEQPACKET) == "seqpacket"
    assert words.socket_state(SocketState.CLOSE_WAIT) == "CLOSE-WAIT"
    assert (words.member(7), words.socket_type(7), words.socket_state(77)) == ("7", "7", "77")


def test_states_are_called_as_ss_calls_them():
    states = (SocketState.ESTABLISHED, SocketState.LISTEN, SocketState.CLOSE)
    assert [words.socket_state(state) for state in states] == ["ESTAB", "LISTEN", "UNCONN"]


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [("127.0.0.1", 80, "127.0.0.1:80"), ("::1", 80, "[::1]:80"), ("0.0.0.0", 0, "0.0.0.0:*")],
)
def test_inet_addresses(host, port, address):
    assert words.inet_address(host, port) == address


def test_file_kinds():
    assert words.file_kind(OtherFile(1, FileType.EVENTFD)) == "eventfd"
    assert words.file_kind(OtherFile(1, 99)) == "99"


def test_each_holder_once_its_descriptors_together():
    users = (
        User(9, Role.CWD),
        User(7, Role.FD, 3),
        User(7, Role.MAPPING, 4096),
        User(7, Role.FD, 4),
        User(8, Role.IN_FLIGHT, 5),
    )
    assert words.holders(users, {7: "a", 9: "b"}) == "a(7) fd 3 4, mapping; ?(8) in flight 5; b(9) cwd"


def test_each_type_of_file_has_a_kind():
    assert {*words._KINDS, Notify, OtherFile} == set(get_args(File))
