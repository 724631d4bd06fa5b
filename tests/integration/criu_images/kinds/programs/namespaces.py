"""Namespaces of the tree's own."""

import os
import socket
from pathlib import Path

from protocol import call, make

NEW = {"mnt": 0x20000, "uts": 0x04000000, "user": 0x10000000, "net": 0x40000000, "pid": 0x20000000}


def uts():
    call("unshare", NEW["uts"])
    socket.sethostname("kinds-host")
    yield
    assert socket.gethostname() == "kinds-host"


def net():
    call("unshare", NEW["net"])
    listener = socket.create_server(("0.0.0.0", 21051))
    yield
    assert listener.getsockname() == ("0.0.0.0", 21051)


def mount():
    """Own the mount namespace, with a tmpfs and a file in it."""
    call("unshare", NEW["mnt"])
    call("mount", None, b"/", None, 0x4000 | 1 << 18, None)
    call("mount", b"kinds", b"/mnt", b"tmpfs", 0, None)
    fd = make("/mnt/file", b"in the dump")
    Path("/mnt/closed").write_text("not open")
    yield
    assert os.pread(fd, 99, 0) == b"in the dump"
    assert Path("/mnt/closed").read_text() == "not open"


def pid():
    """Be the first process of a PID namespace."""
    call("unshare", NEW["pid"])
    if os.fork():
        os.wait()
    yield
    assert os.getpid() == 1
