"""Namespaces of the tree's own."""

import fcntl
import os
import signal
import socket
import struct
from pathlib import Path

from protocol import call, leave_a_parent_outside, make

NEW = {"mnt": 0x20000, "uts": 0x04000000, "user": 0x10000000, "net": 0x40000000, "pid": 0x20000000}


def uts():
    call("unshare", NEW["uts"])
    socket.sethostname("kinds-host")
    yield
    assert socket.gethostname() == "kinds-host"


def net():
    """Own the network namespace, with addresses, a route and a listener."""
    call("unshare", NEW["net"])
    for command in ("link set lo up", "address add 192.0.2.7/24 dev lo", "route add 198.51.100.0/24 dev lo"):
        assert os.spawnvp(os.P_WAIT, "ip", ["ip", *command.split()]) == 0
    listener = socket.create_server(("192.0.2.7", 21051))
    yield
    client = socket.create_connection(("192.0.2.7", 21051), 5)
    client.send(b"in a network of its own")
    assert listener.accept()[0].recv(99) == b"in a network of its own"
    assert "198.51.100.0/24" in os.popen("ip route").read()
    assert socket.if_nameindex()[0][1] == "lo"


def tun():
    """Own a tun device, in a network namespace of one's own."""
    call("unshare", NEW["net"])
    fd = tun_device()
    yield
    assert socket.if_nametoindex("kinds0")
    assert fcntl.ioctl(fd, 0x800454D2, bytes(40)).startswith(b"kinds0\0")  # TUNGETIFF


def tun_device():
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"kinds0", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    return fd


def tun_outside():
    """Own a tun device in the container's network namespace."""
    fd = tun_device()
    yield
    os.close(fd)


def net_without_tools():
    call("unshare", NEW["net"])
    listener = socket.create_server(("0.0.0.0", 21052))
    yield
    assert listener.getsockname() == ("0.0.0.0", 21052)


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
    leave_a_parent_outside()
    child = os.fork()
    if child == 0:
        while True:
            signal.pause()
    assert (os.getpid(), child) == (1, 2)
    yield
    assert os.getpid() == 1
    os.kill(2, signal.SIGKILL)
    assert os.waitpid(2, 0)[0] == 2


def pid_without_session():
    """Be in a PID namespace, and in a session whose leader is outside of it."""
    call("unshare", NEW["pid"])
    if os.fork():
        os.wait()
    yield
    assert os.getpid() == 1


def user():
    """Be root of a user namespace that maps all ids to themselves."""
    unshared, tell = os.pipe()
    mapped, go = os.pipe()
    while child := os.fork():
        os.read(unshared, 1)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child}", name).write_text("0 0 65536")
        os.write(go, b"x")
        signal.pause()
    call("unshare", NEW["user"])
    os.write(tell, b"x")
    os.read(mapped, 1)
    for fd in (unshared, tell, mapped, go):
        os.close(fd)
    os.setsid()
    yield
    assert Path("/proc/self/uid_map").read_text().split() == ["0", "0", "65536"]
    assert os.getuid() == 0
