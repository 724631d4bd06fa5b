"""The names of engines' sockets: whose they are, and which of them nobody has any more."""

from __future__ import annotations

import os
import socket
import subprocess  # noqa: TID251 - a process to look at
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from llmux.server import _socket_names
from llmux.server._socket_names import Arrivals


def bound(path):
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    return made


def dead(path):
    bound(path).close()
    return path


UNIX = """Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 11 /tmp/a b
0000000000000000: 00000003 00000000 00000000 0001 03 12
0000000000000000: 00000002 00000000 00010000 0001 01 13 @abstract
0000000000000000: 00000002 00000000 00010000 0001 01 14 /tmp/of-others
0000000000000000: 00000003 00000000 00000000 0001 03 15 /tmp/a b
"""


def test_the_names_of_sockets_are_those_of_the_given_inodes_without_abstract_ones():
    assert _socket_names.named_sockets(UNIX, {"11", "12", "13", "15"}) == ("/tmp/a b",)


def test_a_socket_is_removed_unless_another_has_its_name_by_then(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
    name = _socket_names.name_of(path)
    assert replace(name, inode=name.inode + 1).remove() is False
    assert path.exists()
    assert name.remove() is True
    assert not path.exists()
    path.write_text("a file")
    assert _socket_names.name_of(path) is None
    assert name.remove() is False


def test_what_is_no_sandbox_has_no_sockets_that_are_an_engines_alone(tmp_path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
        assert _socket_names.names_of(os.getpid()) == ()


def test_sockets_that_a_sandbox_has_bound_are_seen_while_they_are_bound(tmp_path):
    path = tmp_path / "s"
    bind = (
        f"import socket; s = socket.socket(socket.AF_UNIX); s.bind({str(path)!r}); print(flush=True); input()"
    )
    argv = [
        "unshare",
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--mount-proc",
        sys.executable,
        "-c",
        bind,
    ]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as unshared:
        unshared.stdout.readline()
        children = Path(f"/proc/{unshared.pid}/task/{unshared.pid}/children").read_text("ascii")
        init = int(children.split()[0])
        assert path in {name.path for name in _socket_names.names_of(init)}
        unshared.communicate("\n")
    assert _socket_names.names_of(init) == ()


def test_what_has_come_and_is_nobodys_is_told(tmp_path):
    dead(tmp_path / "old")
    arrivals = Arrivals(tmp_path)
    dead(tmp_path / "new")
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("old")
    with closing(bound(tmp_path / "bound")), closing(bound(tmp_path / "listening")) as listening:
        listening.listen()
        assert {name.path.name for name in arrivals.dead()} == {"new"}
    assert {name.path.name for name in arrivals.dead()} == {"new", "bound", "listening"}


def test_what_another_user_has_bound_is_not_llmuxs(tmp_path, monkeypatch):
    arrivals = Arrivals(tmp_path)
    dead(tmp_path / "new")
    assert len(arrivals.dead()) == 1
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert arrivals.dead() == frozenset()
