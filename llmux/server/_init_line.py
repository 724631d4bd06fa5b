"""The line between a sandbox's init and its llmux, and the wait for the next llmux. The standard library only.

The llmux that made the sandbox speaks over pipes. Where the init may linger it listens on a socket too: when its llmux
goes away without having said `end`, whoever connects there next, as root, is its llmux. It is told `ready` first and then
every report that nobody has read meanwhile. Further callers are turned away.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time

_LONGEST_LINE = 16 << 20
_UCRED = struct.Struct("3i")  # pid, user, group: unix(7)


class Line:
    """Whom the init hears and tells."""

    def __init__(self, orders: int = 0, reports: int = 1) -> None:
        self._orders: int | None = orders
        self._reports = reports
        self._pending = b""
        self._unread: list[bytes] = []
        self._linger = 0.0
        self._until = 0.0
        self._listener: socket.socket | None = None
        self._greeting = b""

    def let_linger(self, seconds: float, listener: int, **greeting: object) -> None:
        """Outlast this llmux by so many seconds at most. `greeting` is what the next one is told first."""
        self._linger = seconds
        self._greeting = _encoded(greeting)
        self._listener = socket.socket(fileno=listener)
        self._listener.listen()  # here, so that SO_PEERCRED names the init to who connects
        self._listener.setblocking(False)

    @property
    def sources(self) -> tuple[int, ...]:
        """Return the descriptors to wait for."""
        listener = () if self._listener is None else (self._listener.fileno(),)
        return listener if self._orders is None else (self._orders, *listener)

    @property
    def patience(self) -> float | None:
        """Return the seconds to wait for; None while there is somebody to wait for."""
        return None if self._orders is not None else max(0.0, self._until - time.monotonic())

    def hear(self, ready: set[int]) -> list[bytes]:
        """Return the whole lines that have come. Without llmux, and without the hope of one, this ends the sandbox."""
        lines = self._read() if self._orders in ready else []
        if self._listener is not None and self._listener.fileno() in ready:
            self._greet(self._listener)
        if self.patience == 0:
            os._exit(0)
        return lines

    def tell(self, **message: object) -> None:
        """Send one report, or keep it for the next llmux."""
        line = _encoded(message)
        if self._orders is None or not self._sent(line):
            self._unread.append(line)

    def _read(self) -> list[bytes]:
        data = b""
        if self._orders is not None:
            try:
                data = os.read(self._orders, 1 << 16)
            except ConnectionResetError:
                data = b""
        if not data:
            self._lose()
            return []
        *lines, self._pending = (self._pending + data).split(b"\n")
        if len(self._pending) > _LONGEST_LINE:
            self._pending = b""
            self.tell(event="refused", error=f"a line longer than {_LONGEST_LINE} bytes")
        return lines

    def _sent(self, line: bytes) -> bool:
        try:
            while line:
                line = line[os.write(self._reports, line) :]
        except (BrokenPipeError, ConnectionResetError):
            self._lose()
            return False
        return True

    def _lose(self) -> None:
        """Be without llmux: wait for the next one, or end the sandbox."""
        if self._listener is None:
            os._exit(0)
        for fd in {self._orders, self._reports} - {None}:
            os.close(fd)  # type: ignore[arg-type] # the set has no None
        self._orders, self._pending = None, b""
        self._until = time.monotonic() + self._linger
        forget_stderr()

    def _greet(self, listener: socket.socket) -> None:
        try:
            caller, _ = listener.accept()
        except OSError:  # it has gone again
            return
        _, user, _ = _UCRED.unpack(caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        if user != 0 or self._orders is not None:
            caller.close()
            return
        caller.setblocking(True)
        self._orders = self._reports = caller.detach()
        unread, self._unread = self._unread, []
        for line in (self._greeting, *unread):
            if self._orders is None or not self._sent(line):
                self._unread += [line] * (line != self._greeting)


def forget_stderr() -> None:
    """Let go of llmux's own, which somebody may read to its end."""
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 2)
    os.close(null)


def _encoded(message: dict[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"
