"""Who has a port that is wanted: this test does, and is no llmux."""

from __future__ import annotations

import os
import socket
import subprocess  # noqa: TID251 - a process of its own, which is called as llmux is
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmux.server.doctor._facts import Port, Taken
from llmux.server.doctor._listeners import look_at

_LISTEN = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def listening(*argv):
    """Have a process with these arguments listen; give its port."""
    command = [sys.executable, "-c", _LISTEN, *argv]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


def test_a_port_that_somebody_else_has_is_told_with_the_process():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = Port("models.m.port", "127.0.0.1", server.getsockname()[1])
        name = Path("/proc/self/comm").read_text().strip()
        assert tuple(look_at([port])) == (Taken(port, os.getpid(), name),)
    assert tuple(look_at([port])) == ()


@pytest.mark.parametrize(("argv", "ours"), [(("llmux", "serve"), True), (("nginx",), False)])
def test_what_llmux_has_is_its_own(argv, ours):
    with listening(*argv) as port:
        assert (tuple(look_at([Port("port", "0.0.0.0", port)])) == ()) is ours


def test_one_whose_process_is_not_seen_is_told_too(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = Port("port", "0.0.0.0", server.getsockname()[1])
        assert tuple(look_at([port], tmp_path)) == (Taken(port),)
