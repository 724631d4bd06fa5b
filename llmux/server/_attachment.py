"""A line to an init that has outlived the llmux that made it. What it says and hears is `_init.py`'s."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from llmux.server._berth import short_address
from llmux.server._effect_errors import NotAttached
from llmux.server._process import Lines

_UCRED = struct.Struct("3i")  # pid, user, group: unix(7)
_POLL = 0.05


class Attachment:
    """Speaks with an init that is not llmux's child, and knows its end."""

    def __init__(self, pid: int, pidfd: int) -> None:
        """Watch the process that `pidfd` stands for."""
        self.pid = pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pidfd = pidfd
        self._transport: asyncio.WriteTransport | None = None
        asyncio.get_running_loop().add_reader(pidfd, self._gone)

    @classmethod
    async def open(cls, path: Path, on_line: Callable[[bytes], None], seconds: float) -> Attachment:
        """Connect to the init that listens at `path`, and wait until it takes us for its llmux.

        Raises NotAttached where none listens, where it has its llmux already for all of `seconds`, or where it is not root's.
        """
        until = time.monotonic() + seconds
        while True:
            try:
                return await cls._try(path, on_line)
            except OSError as error:
                if time.monotonic() > until:
                    raise NotAttached(str(path), error.strerror or str(error)) from error
                await asyncio.sleep(_POLL)

    @classmethod
    async def _try(cls, path: Path, on_line: Callable[[bytes], None]) -> Attachment:
        connection = _connected(path)
        try:
            pid = _listener(connection, path)
            made = cls(pid, os.pidfd_open(pid))
        except BaseException:
            connection.close()
            raise
        protocol = _Protocol(on_line)
        transport, _ = await asyncio.get_running_loop().create_unix_connection(
            lambda: protocol, sock=connection
        )
        made._transport = transport
        try:
            await protocol.heard
        except BaseException:
            made._forget()
            raise
        return made

    def tell(self, line: bytes) -> None:
        """Send one line; one that has ended does not hear it."""
        if self._transport and not self._transport.is_closing():
            self._transport.write(line + b"\n")

    async def end(self, grace: float) -> int:
        """Hang up, having said that it is to end; KILL it where it has not within `grace` seconds. May be called again."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self.ended), grace)
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        return await asyncio.shield(self.ended)

    def _gone(self) -> None:
        """Come once it and, as it is the first of its PID namespace, all in there are gone."""
        self._forget()
        if not self.ended.done():
            self.ended.set_result(0)

    def _forget(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._transport:
            self._transport.close()


class _Protocol(asyncio.Protocol):
    """Hands lines on. `heard` is done at the first, and fails where the other end hangs up before."""

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines = Lines(on_line)
        self.transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        if not self.heard.done():
            self.heard.set_result(None)
        self._lines.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.heard.done():
            self.heard.set_exception(exc or ConnectionResetError("it has its llmux already"))


def _listener(connection: socket.socket, path: Path) -> int:
    """Return the process that listens at the other end. Raises NotAttached where it is not our own user's."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, user, _ = _UCRED.unpack(credentials)
    if user != os.geteuid():
        raise NotAttached(str(path), f"user {user} listens there")
    return int(pid)


def _connected(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    try:
        made.setblocking(False)
        with short_address(path) as address:
            made.connect(address)
    except BaseException:
        made.close()
        raise
    return made
