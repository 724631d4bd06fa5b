"""The program that holds external bind points: Unix datagram sockets at the names to which the restored tree's sockets connect.

CRIU connects a socket whose peer was outside the dump to that peer's name again (`post_open_standalone` of sk-unix.c), and the restore fails where
nobody is. So a process of its own binds each name at which nobody is, and keeps what is sent there. It leaves when it is told to, when the
restored tree ends, when CRIU ends before the tree was restored, when its time is over, and at a path as soon as somebody else has bound that.

It also keeps the locks on files that one restore at a time may use (`_keep.py`), until the tree is restored.

Standard library only and run by its path: it starts within a restore, in whatever environment CRIU has. `_hold.py` starts it and talks to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import stat
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CHANNEL = 3
"""The descriptor over which it is told what to hold."""
MOST_FDS = 250
"""SCM_MAX_FD of the kernel is 253."""
MESSAGE = 1 << 18
_SIOCUNIXFILE = 0x89E0  # linux/un.h: a descriptor of the node that a socket is bound to
_LARGEST = 256 * 1024
_KEEP_MESSAGES, _KEEP_BYTES = 10_000, 1 << 20
_TICK = 1.0
_REPLAY_SECONDS = 10.0
_REQUEST_SECONDS = 2.0


class Point:
    """One held name."""

    def __init__(self, raw: dict[str, str | int], directory: int | None) -> None:
        self.name = bytes.fromhex(str(raw["name"]))
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._directory = directory
        self._mode, self._owner = int(raw["mode"]), (int(raw["uid"]), int(raw["gid"]))
        self._node = -1
        self.kept: list[bytes] = []
        self.messages = self.bytes = self.kept_bytes = self.with_descriptors = self.replayed = 0

    def bind(self, proc: int) -> None:
        """Bind the name; at a path, give the node its mode and owner. Raises OSError."""
        self.socket.bind(self.name)
        if self._directory is None:
            return
        self._node = fcntl.ioctl(self.socket, _SIOCUNIXFILE)
        os.set_inheritable(self._node, False)
        if not self._is_ours():
            raise OSError(116, "somebody redirected its path")
        os.chown(str(self._node), *self._owner, dir_fd=proc)
        os.chmod(str(self._node), stat.S_IMODE(self._mode), dir_fd=proc)

    def _seen(self) -> os.stat_result | None:
        base = self.name.rpartition(b"/")[2]
        try:
            return os.stat(base, dir_fd=self._directory, follow_symlinks=False)
        except OSError:
            return None

    def _is_ours(self) -> bool:
        seen = self._seen()
        return seen is not None and os.path.samestat(seen, os.fstat(self._node))

    def replaced(self) -> bool:
        """Tell whether somebody else has bound the path."""
        seen = self._seen() if self._node >= 0 else None
        return seen is not None and stat.S_ISSOCK(seen.st_mode) and not self._is_ours()

    def receive(self) -> None:
        """Take in one message. Descriptors sent along are not wanted: the kernel closes them."""
        buffer = bytearray(_LARGEST)
        try:
            size, _, flags, _ = self.socket.recvmsg_into([buffer], 0, socket.MSG_DONTWAIT | socket.MSG_TRUNC)
        except OSError:
            return
        self.messages += 1
        self.bytes += size
        self.with_descriptors += bool(flags & socket.MSG_CTRUNC)
        if size <= _LARGEST and len(self.kept) < _KEEP_MESSAGES and self.kept_bytes + size <= _KEEP_BYTES:
            self.kept.append(bytes(buffer[:size]))
            self.kept_bytes += size

    def replay_to_successor(self, proc: int) -> None:
        """Send what was kept to whoever has bound the path."""
        base = self.name.rpartition(b"/")[2]
        try:
            node = os.open(base, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._directory)
        except OSError:
            return
        self._replay(proc, node)
        os.close(node)

    def replay_to_owner(self, proc: int) -> None:
        """Send what was kept to the socket that was ours, whoever has it now."""
        self._replay(proc, self._node)

    def _replay(self, proc: int, node: int) -> None:
        deadline = time.monotonic() + _REPLAY_SECONDS
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            try:
                if node >= 0:
                    os.fchdir(proc)
                sender.connect(str(node) if node >= 0 else self.name)
                for message in self.kept:
                    sender.settimeout(max(deadline - time.monotonic(), 0.01))
                    sender.send(message)
                    self.replayed += 1
            except OSError:
                return
            finally:
                os.chdir("/")

    def leave(self) -> None:
        """Close the socket and remove its node, if that is still ours."""
        self.socket.close()
        if self._node >= 0 and self._is_ours():
            os.unlink(self.name.rpartition(b"/")[2], dir_fd=self._directory)

    def report(self) -> dict[str, object]:
        return {
            "name": self.name.hex(),
            "messages": self.messages,
            "bytes": self.bytes,
            "with_descriptors": self.with_descriptors,
            "replayed": self.replayed,
            "kept": [message.hex() for message in self.kept],
        }


class Holder:
    """The sockets, and the reasons to leave."""

    def __init__(  # noqa: PLR0913 - what it is told
        self, points: list[Point], control: int, name: str, seconds: float, proc: int, *, kept: list[int]
    ) -> None:
        """`kept` are locked descriptors, to be closed once CRIU needs their files no more."""
        self._points, self._kept = points, kept
        self._gone: list[Point] = []
        self._control, self._name, self._proc = control, name, proc
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._restorer: int | None = None
        self._tree: int | None = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def watch(self, restorer: int | None) -> None:
        """Leave when CRIU, a pidfd, ends before the tree was restored."""
        self._restorer, self._tree = restorer, None
        self._deadline = time.monotonic() + self._seconds

    def listen(self) -> None:
        """Be found: in a directory that only root may write to."""
        for name in (self._name, f"{self._name}.report"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._control)
        os.fchdir(self._control)
        self._listener.bind(self._name)
        self._listener.listen(4)
        os.chdir("/")

    def run(self) -> None:
        """Hold until there is a reason to leave, then say why in a report."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        why = "it was ended"
        try:
            while (reason := self._step()) is None:
                pass
            why = reason
        finally:
            self._end(why)

    def _step(self) -> str | None:
        poll = select.poll()
        watched = {point.socket.fileno(): point for point in self._points}
        for fd in (*watched, self._listener.fileno(), *self._ends()):
            poll.register(fd, select.POLLIN)
        events = [fd for fd, _ in poll.poll(_TICK * 1000)]
        for fd in events:
            if fd in watched:
                watched[fd].receive()
        self._give_way()
        if self._listener.fileno() in events and (reason := self._answer()) is not None:
            return reason
        return self._reason(events)

    def _ends(self) -> Iterator[int]:
        """Yield the pidfd whose process' end is ours: once the tree is restored, CRIU's no more."""
        end = self._tree if self._tree is not None else self._restorer
        if end is not None:
            yield end

    def _reason(self, events: list[int]) -> str | None:
        if not self._points and not self._kept:
            return "somebody else has bound the path"
        if self._tree in events:
            return "the restored tree ended"
        if self._tree is None and self._restorer in events:
            return "the restore failed"
        if time.monotonic() > self._deadline:
            return "nobody finished the restore in time"
        return None

    def _give_way(self) -> None:
        """Let a daemon that has bound its path since have what was sent; programs learn by ECONNREFUSED that they must connect again."""
        for point in [point for point in self._points if point.replaced()]:
            point.replay_to_successor(self._proc)
            point.leave()
            self._points.remove(point)
            self._gone.append(point)

    def _answer(self) -> str | None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(_REQUEST_SECONDS)
            try:
                if not is_trusted(connection):
                    return None
                request, fds, _, _ = socket.recv_fds(connection, 64, 1)
                return self._do(connection, request, fds)
            except OSError:
                return None

    def _do(self, connection: socket.socket, request: bytes, fds: list[int]) -> str | None:
        match request:
            case b"tree" if fds:
                self._tree = fds[0]
                if self._is_over():
                    self._retire()
                    connection.sendall(b"{}")
                    return ""
            case b"renew":
                self.watch(fds[0] if fds else None)
            case b"end":
                self._drain()
                self._retire()
                self._say(connection, self._leave())
                return ""
            case b"hand over":
                self._hand_over(connection)
                return ""
            case _:
                pass
        connection.sendall(b"{}")
        return None

    def _is_over(self) -> bool:
        """Let go of the locks, because the tree is restored; tell whether nothing else is held."""
        while self._kept:
            os.close(self._kept.pop())
        return not self._points and not self._gone

    def _drain(self) -> None:
        for point in self._points:
            while select.select([point.socket], [], [], 0)[0]:
                point.receive()

    def _leave(self) -> list[int]:
        """Leave all points at once; return no sockets."""
        for point in self._points:
            point.leave()
        return []

    def _hand_over(self, connection: socket.socket) -> None:
        """Pass the bound sockets on, then send the new owner what came before."""
        self._drain()
        self._retire()
        self._say(connection, [point.socket.fileno() for point in self._points])
        connection.close()
        for point in self._points:
            point.socket.close()
            point.replay_to_owner(self._proc)

    def _say(self, connection: socket.socket, fds: list[int]) -> None:
        connection.setblocking(True)
        data = self._report("").encode()
        sent = socket.send_fds(connection, [data], fds) if fds else 0
        connection.sendall(data[sent:])

    def _report(self, why: str) -> str:
        return json.dumps({"why": why, "points": [point.report() for point in (*self._points, *self._gone)]})

    def _end(self, why: str) -> None:
        """Leave what is left; without somebody who asked, write down what there was."""
        if why and (self._points or self._gone):
            self._drain()
            self._leave()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            report = os.open(f"{self._name}.report", flags, 0o600, dir_fd=self._control)
            with os.fdopen(report, "w") as file:
                file.write(self._report(why))
        self._retire()

    def _retire(self) -> None:
        """Be found no more, before anybody is answered: whoever was answered may start the next holder at the same name."""
        if self._listener.fileno() < 0:
            return
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._control)


def is_trusted(connection: socket.socket) -> bool:
    """Tell whether root, or our own user, is at the other end of a control connection (SO_PEERCRED of unix(7))."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _, uid, _ = struct.unpack("=iii", credentials)
    return uid in {0, os.geteuid()}


def _become_daemon(channel: socket.socket) -> None:
    """Have an id that the dump does not need: whoever started us looks at it, and says `again` if it is one of those."""
    while True:
        if os.fork():
            os._exit(0)
        channel.send(str(os.getpid()).encode())
        if channel.recv(16) != b"again":
            break
    os.setsid()


def _start(channel: socket.socket) -> Holder:
    data, fds, _, _ = socket.recv_fds(channel, MESSAGE, MOST_FDS)
    told = json.loads(data)
    _become_daemon(channel)
    root, control, *rest = fds
    watched = rest.pop(0) if told["watch"] else None
    proc = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if told["root"]:
        os.fchdir(root)
        os.chroot(".")
    os.close(root)
    os.chdir("/")
    os.umask(0o777)
    points = [Point(raw, None if raw["abstract"] else rest.pop(0)) for raw in told["points"]]
    holder = Holder(points, control, str(told["name"]), float(told["seconds"]), proc, kept=rest)
    holder.watch(watched)
    try:
        for point in points:
            point.bind(proc)
        os.umask(0o177)
        holder.listen()
    except OSError:
        for point in points:
            point.leave()
        raise
    return holder


def main() -> None:
    """Hold what the channel tells, in a process of its own; answer `ready`, or the error's number and text."""
    os.closerange(CHANNEL + 1, 1 << 20)
    channel = socket.socket(fileno=CHANNEL)
    try:
        holder = _start(channel)
    except OSError as error:
        channel.send(f"{error.errno or 0} {error.strerror or error}".encode())
        sys.exit(1)
    channel.send(b"ready")
    channel.close()
    holder.run()


if __name__ == "__main__":
    main()
