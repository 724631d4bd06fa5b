"""Sockets of the network."""

import socket
import struct

V4, V6 = socket.AF_INET, socket.AF_INET6


def listen(family, address, *, v6only=None):
    sock = socket.socket(family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if v6only is not None:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    sock.bind(address)
    sock.listen(7)
    return sock


def talk(one, other):
    one.sendall(b"ping")
    assert other.recv(99) == b"ping"
    other.sendall(b"pong")
    assert one.recv(99) == b"pong"


def tcp_listen():
    four = listen(V4, ("127.0.0.1", 21001))
    four.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    four.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    six = listen(V6, ("::1", 21002), v6only=1)
    both = listen(V6, ("::", 21003), v6only=0)
    yield
    for sock, family, address in ((four, V4, "127.0.0.1"), (six, V6, "::1"), (both, V4, "127.0.0.1")):
        client = socket.socket(family)
        client.connect((address, sock.getsockname()[1]))
        talk(client, sock.accept()[0])
    assert four.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert four.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def established(family, address):
    listener = listen(family, address)
    client = socket.socket(family)
    client.connect(listener.getsockname())
    accepted, _ = listener.accept()
    accepted.sendall(b"waiting")
    client.sendall(b"q" * 1000)
    return listener, client, accepted


def tcp_established():
    pairs = [established(V4, ("127.0.0.1", 21011)), established(V6, ("::1", 21012))]
    yield
    for listener, client, accepted in pairs:
        assert client.recv(99) == b"waiting"
        assert len(accepted.recv(2000, socket.MSG_WAITALL | socket.MSG_DONTWAIT)) == 1000
        talk(client, accepted)
        late = socket.socket(listener.family)
        late.connect(listener.getsockname())
        talk(late, listener.accept()[0])


def tcp_unasked():
    held = established(V4, ("127.0.0.1", 21021))
    yield
    assert held[1].recv(99) == b"waiting"


def tcp_closed():
    _, client, accepted = established(V4, ("127.0.0.1", 21031))
    yield
    for sock in (client, accepted):
        try:
            assert sock.recv(99) == b""
        except OSError:
            continue


def udp():
    bound = socket.socket(V4, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", 21041))
    connected = socket.socket(V4, socket.SOCK_DGRAM)
    connected.bind(("127.0.0.1", 21042))
    connected.connect(("127.0.0.1", 21041))
    six = socket.socket(V6, socket.SOCK_DGRAM)
    six.bind(("::1", 21043))
    yield
    connected.send(b"hello")
    assert bound.recvfrom(9) == (b"hello", ("127.0.0.1", 21042))
    bound.sendto(b"back", ("127.0.0.1", 21042))
    assert connected.recv(9) == b"back"
    assert six.getsockname()[:2] == ("::1", 21043)


def raw():
    sock = socket.socket(V4, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    yield
    sock.settimeout(5)
    echo = struct.pack("!BBHHH", 8, 0, 0xF7FE, 0, 1)
    sock.sendto(echo, ("127.0.0.1", 0))
    while sock.recv(99)[20:] != echo:  # others' packets come to a raw socket too
        pass


def packet():
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    sock.bind(("lo", 0x0800))
    yield
    sock.settimeout(5)
    assert sock.getsockname()[0] == "lo"
    other = socket.socket(V4, socket.SOCK_DGRAM)
    other.sendto(b"seen", ("127.0.0.1", 21099))
    while b"seen" not in sock.recv(999):  # others may speak on the same device
        pass


def netlink():
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    sock.bind((0, 0))
    yield
    sock.settimeout(5)
    request = struct.pack("=IHHII", 17, 18, 0x301, 7, 0) + b"\0"  # RTM_GETLINK, REQUEST | DUMP
    sock.send(request.ljust(20, b"\0"))
    assert struct.unpack_from("=IHHII", sock.recv(65536))[3] == 7
