"""Requests to engines. Small ones, which are nearly all, go the short way: a kept connection, one write, aiohttp's parser.

aiohttp's own client does much beside that for each request (redirects, cookies, proxies, tracing, a writer's task): asking takes it
several times as long as a `Wire`, and llmux passes thousands on. Whatever is large, encrypted or no plain request goes by it still.
"""

from __future__ import annotations

import asyncio
import errno
import io
import time
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from types import TracebackType
from typing import Protocol

import aiohttp
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

_LARGEST_BODY = 64 << 10
"""Bytes that the kernel takes at once as a rule, so that no answer is waited for while a body is still being sent."""
_CONNECT = 10.0
"""Seconds."""
_INTERIM = {100, 102, 103}
"""Not 101, after which there is no HTTP."""
_BODILESS = {204, 304}


class Answer(Protocol):
    """An engine's answer, whose body is still to be read."""

    @property
    def status(self) -> int:
        """HTTP's."""

    @property
    def reason(self) -> str | None:
        """HTTP's."""

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """As the engine sent them."""

    @property
    def content(self) -> aiohttp.StreamReader:
        """The body, as it comes."""

    @property
    def content_type(self) -> str:
        """What it is, without parameters."""


Asking = AbstractAsyncContextManager[Answer]
"""A request: sent when it is entered. Left before the answer's end, it closes the connection: that is how an engine learns of it.

Raises aiohttp.ClientError.
"""


def in_words(error: aiohttp.ClientError | TimeoutError) -> str:
    """Return what a client may know of a failed request to an engine: neither where that is, nor what it has sent, which is for the log."""
    match error:
        case aiohttp.ServerDisconnectedError() | OSError(errno=errno.ECONNRESET | errno.EPIPE):
            return "it closed the connection"
        case OSError():
            return "it cannot be reached"
        case _:
            return "its answer is cut off, or no HTTP"


def by_session(
    session: aiohttp.ClientSession, url: URL, method: str, headers: CIMultiDict[str], body: bytes
) -> Asking:
    """Ask by aiohttp's client."""
    data = io.BytesIO(body) if body else None
    return session.request(method, url, headers=headers, data=data, allow_redirects=False)


class _Connection(ResponseHandler):
    """A connection to an engine, for one answer after another."""

    idle = False
    """It is kept for the next request."""

    def expect(self, *, body: bool) -> None:
        """Take what comes for the next answer, with a body or without; what is left of the last one (trailers, for one) is no part of it."""
        self.set_response_params(skip_payload=not body, read_until_eof=True, auto_decompress=False)

    def data_received(self, data: bytes) -> None:
        """Take what comes; what nobody has asked for is the end of the connection."""
        if self.idle:
            self.abort()
        else:
            super().data_received(data)


class Wire:
    """Connections to one engine that speaks HTTP/1.1 at a TCP port of its own."""

    def __init__(self, url: URL, session: aiohttp.ClientSession, keep: float) -> None:
        """`session` is for what goes the long way; `keep` is for how many seconds a connection that is not used is kept."""
        self._origin = url.origin()
        self._host, self._port = url.host or "", url.port or 80
        self._authority = url.authority
        self._session = session
        self._keep = keep
        self._idle: list[tuple[_Connection, float]] = []
        """Each with when its last answer ended; the latest comes last."""
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    def ask(self, method: str, target: str, headers: CIMultiDict[str], body: bytes) -> Asking:
        """Ask for `target`, the path and query as they are written."""
        if len(body) > _LARGEST_BODY:
            return by_session(
                self._session, URL(f"{self._origin}{target}", encoded=True), method, headers, body
            )
        headers.setdefault(hdrs.HOST, self._authority)
        if body or method in {"POST", "PUT", "PATCH"}:
            headers[hdrs.CONTENT_LENGTH] = str(len(body))
        if not self._keep:
            headers[hdrs.CONNECTION] = "close"
        return _Asking(self, method, target, headers, body)

    async def close(self) -> None:
        """Close the connections that are kept, and return once they are closed; those in use are closed when they are given back."""
        self._closed = True
        idle, self._idle = self._idle, []
        if self._sweep:
            self._sweep.cancel()
            self._sweep = None
        closing = [closed for connection, _ in idle if (closed := connection.closed)]
        for connection, _ in idle:
            connection.abort()
        await asyncio.gather(*closing, return_exceptions=True)

    def take(self) -> _Connection | None:
        """Return a connection that is kept and can be used, if there is one."""
        oldest = time.monotonic() - self._keep
        while self._idle:
            connection, since = self._idle.pop()
            if since > oldest and connection.is_connected() and not connection.should_close:
                connection.idle = False
                return connection
            connection.abort()
        return None

    def put_back(self, connection: _Connection) -> None:
        """Keep a connection for the next request, if it can be."""
        if self._closed or not self._keep or connection.should_close or not connection.is_connected():
            connection.abort()
            return
        connection.idle = True
        self._idle.append((connection, time.monotonic()))
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self._keep, self._close_idle)

    async def open(self) -> _Connection:
        """Return a new connection. Raises aiohttp.ClientError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop), self._host, self._port
                )
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(
                f"no connection to {self._authority} in {_CONNECT:g} s"
            ) from error
        except OSError as error:
            raise aiohttp.ClientOSError(error.errno, f"{self._authority}: {error.strerror}") from error
        return connection

    def _close_idle(self) -> None:
        self._sweep = None
        oldest = time.monotonic() - self._keep
        while self._idle and self._idle[0][1] <= oldest:
            self._idle.pop(0)[0].abort()
        if self._idle:
            pause = self._idle[0][1] - oldest
            self._sweep = asyncio.get_running_loop().call_later(pause, self._close_idle)


class _Asking:
    """One request over a `Wire`, and its answer."""

    def __init__(self, wire: Wire, method: str, target: str, headers: CIMultiDict[str], body: bytes) -> None:
        self._wire = wire
        self._method = method
        self._target = target
        self._sent = headers
        self._body = body
        self._connection: _Connection | None = None
        self.status = 0
        self.reason: str | None = None
        self.headers: CIMultiDictProxy[str]
        self.content: aiohttp.StreamReader

    @property
    def content_type(self) -> str:
        return (
            self.headers.get(hdrs.CONTENT_TYPE, "application/octet-stream").partition(";")[0].strip().lower()
        )

    async def __aenter__(self) -> Answer:
        connection = self._wire.take()
        if connection is None:
            connection = await self._wire.open()
        self._connection = connection
        try:
            self._send(connection)
            await self._hear(connection)
        except BaseException:
            connection.abort()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        connection = self._connection
        if connection is None:
            return
        # An engine that sends a body where there can be none sends it as the next one's answer.
        if (
            kind is None
            and self.content.is_eof()
            and self._method != hdrs.METH_HEAD
            and self.status not in _BODILESS
        ):
            self._wire.put_back(connection)
        else:  # not `close`, which first waits for an engine to take what it was sent
            connection.abort()

    def _send(self, connection: _Connection) -> None:
        connection.expect(body=self._method != hdrs.METH_HEAD)
        transport = connection.transport
        if transport is None or transport.is_closing():
            raise aiohttp.ServerDisconnectedError
        transport.write(_head(self._method, self._target, self._sent) + self._body)

    async def _hear(self, connection: _Connection) -> None:
        try:
            message, self.content = await connection.read()
            while message.code in _INTERIM:
                message, self.content = await connection.read()
        except HttpProcessingError as error:
            raise aiohttp.ClientPayloadError(f"the answer is no HTTP: {error.message}") from error
        if message.code == HTTPStatus.SWITCHING_PROTOCOLS:
            raise aiohttp.ClientPayloadError("the answer is of another protocol, which nobody asked for")
        self.status, self.reason, self.headers = message.code, message.reason, message.headers


def _head(method: str, target: str, headers: CIMultiDict[str]) -> bytes:
    """Return the bytes before a body; what aiohttp could not decode goes as it came. Raises ValueError where a header holds another line."""
    lines = [f"{method} {target} HTTP/1.1", *map(": ".join, headers.items())]
    head = "\r\n".join(lines)
    if not head.count("\r") == head.count("\n") == len(lines) - 1 or "\0" in head:
        raise ValueError(f"a line break or NUL in the head of {method} {target!r}")
    return f"{head}\r\n\r\n".encode("utf-8", "surrogateescape")
