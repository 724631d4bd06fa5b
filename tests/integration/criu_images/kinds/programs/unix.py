"""Unix sockets."""

import array
import os
import socket
import struct
from pathlib import Path

from protocol import fork, here, leave_a_parent_outside, make

STREAM, DGRAM, SEQPACKET = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET


def made(kind=STREAM, name=None, peer=None, backlog=None):
    """Make a socket: bound, connected, listening, as told."""
    sock = socket.socket(socket.AF_UNIX, kind)
    if name is not None:
        sock.bind(name)
    if peer is not None:
        sock.connect(peer)
    if backlog is not None:
        sock.listen(backlog)
    return sock


def talk(one, other):
    one.send(b"ping")
    assert other.recv(99) == b"ping"
    other.send(b"pong")
    assert one.recv(99) == b"pong"


def connection(kind):
    listener = made(kind, here("listen"), backlog=5)
    client = made(kind, peer=here("listen"))
    accepted, _ = listener.accept()
    client.send(b"queued")
    yield
    assert accepted.recv(99) == b"queued"
    talk(client, accepted)
    late = made(kind, peer=here("listen"))
    talk(late, listener.accept()[0])


def stream():
    yield from connection(STREAM)


def mode():
    """Change the mode and owner of a listener's path after bind(2)."""
    listener = made(name=here("listen"), backlog=1)
    os.chmod(here("listen"), 0o602)
    os.chown(here("listen"), 12, 34)
    yield
    now = os.stat(here("listen"))
    assert (now.st_mode, now.st_uid, now.st_gid) == (0o140602, 12, 34)
    assert listener.getsockname() == here("listen")


def seqpacket():
    yield from connection(SEQPACKET)


def accepted_only():
    """Keep the connection alone: the listener is closed and its path is gone."""
    listener = made(name=here("listen"), backlog=1)
    client = made(peer=here("listen"))
    accepted, _ = listener.accept()
    listener.close()
    os.unlink(here("listen"))
    os.rmdir(here())
    client.send(b"queued")
    yield
    assert accepted.recv(99) == b"queued"
    talk(client, accepted)


def connected_name():
    listener = made(name=here("listen"), backlog=1)
    client = made(name=here("client"), peer=here("listen"))
    accepted, _ = listener.accept()
    yield
    talk(client, accepted)


def pair():
    one, other = socket.socketpair()
    child = fork(other.close)
    packets = socket.socketpair(socket.AF_UNIX, SEQPACKET)
    datagrams = socket.socketpair(socket.AF_UNIX, DGRAM)
    one.send(b"q" * 10_000)
    for message in (b"one", b"twenty-two"):
        packets[0].send(message)
        datagrams[1].send(message)
    yield
    assert len(other.recv(99_999, socket.MSG_WAITALL | socket.MSG_DONTWAIT)) == 10_000
    talk(one, other)
    assert [end.recv(99) for end in (packets[1], packets[1], datagrams[0], datagrams[0])] == [
        b"one",
        b"twenty-two",
    ] * 2
    assert Path(f"/proc/{child}/fd/{one.fileno()}").is_symlink()


def dgram():
    server = made(DGRAM, here("server"))
    named = made(DGRAM, here("client"), here("server"))
    unnamed = made(DGRAM, peer=here("server"))
    named.send(b"from a name")
    unnamed.send(b"from none")
    yield
    assert server.recvfrom(99) == (b"from a name", here("client"))
    assert server.recv(99) == b"from none"
    unnamed.send(b"again")
    assert server.recv(99) == b"again"
    made(DGRAM, peer=here("server")).send(b"by name")
    assert server.recv(99) == b"by name"
    server.sendto(b"back", here("client"))
    assert named.recv(99) == b"back"


def relative():
    os.mkdir(here("one"))
    os.mkdir(here("two"))
    os.chdir(here("one"))
    first = made(name="name", backlog=1)
    os.chdir(here("two"))
    second = made(name="./name", backlog=1)
    os.chdir("/")
    yield
    for directory, listener, name in (("one", first, "name"), ("two", second, "./name")):
        client = made(peer=here(f"{directory}/name"))
        talk(client, listener.accept()[0])
        assert listener.getsockname() == name


def relative_upwards():
    os.mkdir(here("below"))
    os.chdir(here("below"))
    listener = made(name="../upward", backlog=1)
    yield
    assert listener.getsockname() == "../upward"


def deleted():
    listener = made(name=here("gone"), backlog=1)
    client = made(peer=here("gone"))
    accepted, _ = listener.accept()
    os.unlink(here("gone"))
    os.rmdir(here())
    yield
    assert not os.path.exists("/srv/kinds/unix.deleted/gone")
    talk(client, accepted)
    assert listener.getsockname().endswith("/gone")


def parked():
    """Two listeners at one path: the first has lost it."""
    old = made(name=here("name"), backlog=1)
    waiting = made(peer=here("name"))
    accepted, _ = old.accept()
    os.unlink(here("name"))
    new = made(name=here("name"), backlog=1)
    yield
    talk(waiting, accepted)
    talk(made(peer=here("name")), new.accept()[0])
    assert os.listdir(here()) == ["name"]
    assert old.getsockname() == here("name")


def abstract():
    names = [b"\0kinds", b"\0odd\0\xff\n"]
    listeners = [made(name=name, backlog=1) for name in names]
    datagram = made(DGRAM, b"\0kinds-datagram")
    yield
    for name, listener in zip(names, listeners, strict=True):
        talk(made(peer=name), listener.accept()[0])
    made(DGRAM, peer=b"\0kinds-datagram").send(b"hello")
    assert datagram.recv(9) == b"hello"


def shutdown():
    one, other = socket.socketpair()
    one.send(b"last words")
    one.shutdown(socket.SHUT_WR)
    yield
    assert other.recv(99) == b"last words"
    assert other.recv(99) == b""
    other.send(b"still heard")
    assert one.recv(99) == b"still heard"
    try:
        one.send(b"x")
    except BrokenPipeError:
        return
    raise AssertionError("the half is open again")


def rights():
    """Descriptors in flight: a file that is only there, and a socket that has one in flight itself."""
    one, other = socket.socketpair(socket.AF_UNIX, DGRAM)
    inner = socket.socketpair(socket.AF_UNIX, DGRAM)
    fd = make(here("in-flight"), b"only in flight")
    deep = make(here("deeper"), b"nested")
    send_rights(inner[0], deep)
    send_rights(one, fd)
    send_rights(one, inner[1].fileno())
    os.close(fd)
    os.close(deep)
    inner[1].close()
    yield
    assert os.pread(receive_rights(other), 99, 0) == b"only in flight"
    nested = socket.socket(fileno=receive_rights(other))
    assert os.pread(receive_rights(nested), 99, 0) == b"nested"


def rights_deep():
    """Send a file over a socket, which is in flight over a second, which is in flight over a third."""
    pairs = [socket.socketpair(socket.AF_UNIX, DGRAM) for _ in range(3)]
    fd = make(here("deep"), b"three deep")
    for carrier, carried in zip(pairs, [pairs[1][1].fileno(), pairs[2][1].fileno(), fd], strict=True):
        send_rights(carrier[0], carried)
    for _, inner in pairs[1:]:
        inner.close()
    os.close(fd)
    yield
    second = socket.socket(fileno=receive_rights(pairs[0][1]))
    third = socket.socket(fileno=receive_rights(second))
    assert os.pread(receive_rights(third), 99, 0) == b"three deep"


def rights_flat():
    one, other = socket.socketpair(socket.AF_UNIX, DGRAM)
    fd = make(here("in-flight"), b"only in flight")
    send_rights(one, fd)
    os.close(fd)
    yield
    assert os.pread(receive_rights(other), 99, 0) == b"only in flight"


def send_rights(sock, fd):
    sock.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])


def receive_rights(sock):
    _, ancillary, _, _ = sock.recvmsg(9, socket.CMSG_SPACE(4))
    return struct.unpack("i", ancillary[0][2])[0]


def pending():
    listener = made(name=here("listen"), backlog=3)
    client = made(peer=here("listen"))
    yield
    talk(client, listener.accept()[0])


def pending_data():
    listener = made(name=here("listen"), backlog=3)
    client = made(peer=here("listen"))
    client.send(b"too early")
    yield
    assert listener.accept()[0].recv(99) == b"too early"


def external_stream():
    """Talk to a process outside the tree: this one's parent, which stays."""
    one, other = socket.socketpair()
    leave_a_parent_outside()
    other.close()
    yield
    one.send(b"x")


def options():
    sock, other = socket.socketpair(socket.AF_UNIX, STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 5, 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50_000)
    sock.setblocking(False)
    yield
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED) == 1
    assert struct.unpack("ll", sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)) == (5, 0)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 100_000
    assert not os.get_blocking(sock.fileno())
    talk(sock, other)
