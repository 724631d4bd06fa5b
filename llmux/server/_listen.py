"""Where llmux listens, and with how much patience: its port, the port for admins, the Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket
import ssl
import stat
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from llmux.server import _api_errors
from llmux.server._web import UNFORESEEN
from llmux.server.config import Config, ListenConfig
from llmux.server.errors import AddressTaken, Problem

log = logging.getLogger(__name__)
_SILENT = logging.getLogger(f"{__name__}.silent")
_SILENT.disabled = True

_BACKLOG = 1024
_LINGER = 2.0
"""Seconds in which the rest of a body is read that nobody wants, so that its sender reads the answer."""
_HANDSHAKE = 15.0
"""Seconds for a TLS handshake."""
_SEND_LOOKS = 4
"""In the time that a client may take nothing for."""

_FILES_OF_ITS_OWN = 64
"""What llmux has open beside its connections."""

_Listen = Callable[[Callable[[], web.RequestHandler]], Awaitable[asyncio.Server]]


async def open_all(
    runner: web.AppRunner, settings: Config, context: ssl.SSLContext | None, stack: contextlib.AsyncExitStack
) -> None:
    """Listen wherever `settings` say; `stack` removes what is left behind in the end. Raises AddressTaken."""
    listen = settings.listen
    for place in _doors(settings):
        await _open_port(runner, listen, place, context)
    if listen.unix_socket is not None:
        await _open_socket(runner, listen, listen.unix_socket, stack)
    log.info("serving %s on %s", ", ".join(settings.models), ", ".join(site.name for site in runner.sites))


async def check_ports(settings: Config) -> None:
    """Find out before anything is begun whether the ports can be had; nobody can connect meanwhile. Raises AddressTaken."""
    for place in places(settings):
        try:
            server = await asyncio.get_running_loop().create_server(
                asyncio.Protocol, host=place.host, port=place.port, start_serving=False
            )
        except OSError as error:
            raise place.taken(error) from error
        server.close()


def places(settings: Config) -> Iterator[Place]:
    """Yield the ports that llmux itself is to listen on."""
    yield from _doors(settings)
    if settings.metrics_port:
        yield Place("metrics_port", settings.listen.metrics_host or settings.host, settings.metrics_port)


def _doors(settings: Config) -> Iterator[Place]:
    """Yield those of its API."""
    yield Place("port", settings.host, settings.port)
    if settings.admin_port is not None:
        yield Place("admin_port", settings.listen.admin_host or settings.host, settings.admin_port)


@dataclass(frozen=True)
class Place:
    """A port to listen on, and the configuration's key that says so."""

    key: str
    host: str
    port: int

    def taken(self, error: OSError) -> AddressTaken:
        """Return what to tell where it cannot be had."""
        hint = (
            f"Stop what listens there, or change `{self.key}` in the configuration"
            if error.errno == errno.EADDRINUSE
            else f"Change the host or `{self.key}` in the configuration"
        )
        number = error.errno or 0
        # asyncio puts the address into its words once more; a name that is not found has a number below 0.
        reason = os.strerror(number) if number > 0 else str(error)
        return AddressTaken(self.host, self.port, reason, hint=hint)


async def _open_port(
    runner: web.AppRunner, listen: ListenConfig, place: Place, context: ssl.SSLContext | None
) -> None:
    loop = asyncio.get_running_loop()
    handshake = _HANDSHAKE if context else None
    start = partial(
        loop.create_server,
        host=place.host,
        port=place.port,
        ssl=context,
        ssl_handshake_timeout=handshake,
        backlog=_BACKLOG,
    )
    try:
        await _Site(runner, f"{place.host}:{place.port}", start, listen).start()
    except OSError as error:
        raise place.taken(error) from error


async def _open_socket(
    runner: web.AppRunner, listen: ListenConfig, path: Path, stack: contextlib.AsyncExitStack
) -> None:
    try:
        bound = await asyncio.to_thread(bind, path, int(listen.unix_mode, 8))
    except OSError as error:
        hint = "Change `listen.unix_socket`, or remove what is there"
        raise AddressTaken(str(path), None, error.strerror or str(error), hint=hint) from error
    identity = await asyncio.to_thread(_identity, path)
    stack.push_async_callback(asyncio.to_thread, _remove, path, identity)
    start = partial(asyncio.get_running_loop().create_unix_server, sock=bound, backlog=_BACKLOG)
    await _Site(runner, str(path), start, listen).start()


def bind(path: Path, mode: int) -> socket.socket:
    """Return a socket at `path` with these permissions from the first moment on. Raises OSError.

    A socket that nobody listens on any more is replaced; whatever else is there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_free(path)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _removed_on_error(new):
            new.unlink(missing_ok=True)
            bound.bind(os.fspath(new))
            _let_in(new, mode)
            bound.listen(_BACKLOG)
            new.replace(path)
    except BaseException:
        bound.close()
        raise
    return bound


def _let_in(path: Path, mode: int) -> None:
    """Give a socket its permissions, and nothing else that has been put in its place, whoever may write to the directory."""
    handle = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        if not stat.S_ISSOCK(os.fstat(handle).st_mode):
            raise FileExistsError(errno.EEXIST, "something else has taken the socket's place")
        Path(f"/proc/self/fd/{handle}").chmod(mode)
    finally:
        os.close(handle)


def _check_free(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(errno.EEXIST, "something else than a socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        if probe.connect_ex(os.fspath(path)) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


@contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _remove(path: Path, identity: tuple[int, int]) -> None:
    """Remove the socket unless another has taken its place."""
    with contextlib.suppress(OSError):
        if _identity(path) == identity:
            path.unlink()


class _Site(web.BaseSite):
    """One place where llmux listens."""

    def __init__(self, runner: web.AppRunner, name: str, listen: _Listen, config: ListenConfig) -> None:
        super().__init__(runner)
        self._name, self._listen, self._config = name, listen, config

    @property
    def name(self) -> str:
        return self._name

    async def start(self) -> None:
        await super().start()
        self._server = await self._listen(self._connection)

    def _connection(self) -> web.RequestHandler:
        server = self._runner.server
        assert server is not None  # noqa: S101 - a site is made of a runner that is set up
        return _Connection(server, self._config, _most_connections(self._config))


def _most_connections(config: ListenConfig) -> int:
    """Return how many clients may be connected: each may take a connection to an engine too."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if config.most_connections is not None:
        return config.most_connections
    return sys.maxsize if files == resource.RLIM_INFINITY else max(1, (files - _FILES_OF_ITS_OWN) // 2)


class _Connection(web.RequestHandler):
    """One client's connection; one that takes nothing of what it has asked for is cut off."""

    __slots__ = ("_left", "_most", "_send_timeout", "_send_timer", "_server", "_silent")

    def __init__(self, server: web.Server, config: ListenConfig, most: int) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=config.idle_timeout,
            logger=log,
            access_log=_SILENT,
            max_line_size=config.largest_header,
            max_field_size=config.largest_header,
            max_headers=config.most_headers,
            lingering_time=_LINGER,
        )
        self._server, self._most = server, most
        self._send_timeout = config.send_timeout
        self._send_timer: asyncio.TimerHandle | None = None
        self._silent, self._left = 0.0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Writing pauses as soon as anything waits for the client, and only so is it known that something does. A cast, as uvloop's
        # transports do all of that and are none of asyncio's.
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=1, low=0)
        super().connection_made(transport)
        if len(self._server.connections) > self._most and transport.get_extra_info("peername"):
            self.force_close()  # those who come over the Unix socket can still look what is going on

    def pause_writing(self) -> None:
        super().pause_writing()
        self._silent, self._left = 0.0, -1
        self._look_later()

    def resume_writing(self) -> None:
        self._look_no_more()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._look_no_more()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        pause, transport = self._send_timeout / _SEND_LOOKS, self.transport
        if transport is not None:
            self._send_timer = self._loop.call_later(pause, self._look, pause, transport)

    def _look_no_more(self) -> None:
        if self._send_timer:
            self._send_timer.cancel()
            self._send_timer = None

    # The transport is given: aiohttp forgets it when it closes, which waits for a client that reads nothing.
    def _look(self, pause: float, transport: asyncio.Transport) -> None:
        left = transport.get_write_buffer_size()
        self._silent = self._silent + pause if left == self._left else 0.0
        self._left = left
        if self._silent >= self._send_timeout:
            log.info("a client has taken nothing for %g s, and is cut off", self._send_timeout)
            transport.abort()
        else:
            self._send_timer = self._loop.call_later(pause, self._look, pause, transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's: it quotes what could not be read
    ) -> web.StreamResponse:
        """Answer what is no HTTP as every error is answered, and close the connection."""
        if request.writer.output_size:
            raise ConnectionError("the answer has begun")
        if isinstance(exc, LineTooLong):
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("an answer failed unforeseen", exc_info=exc)
            problem, kind = UNFORESEEN, "server_error"
        else:  # its words are not told: what could not be read may hold a key
            log.debug("a client sent what is no HTTP request: %s", type(exc).__name__)
            words = HTTPStatus(status).phrase
            code = words.lower().replace(" ", "_")
            problem = Problem(code, f"the request cannot be read: {words}", _HINTS.get(status, ""))
            kind = "invalid_request_error"
        answer = web.json_response(_api_errors.body(request.path, status, problem, kind), status=status)
        answer.force_close()
        return answer


_HINTS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "It must be HTTP/1.1 with one Content-Length or chunked, and not both",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "A line of its head is longer than listen.largest_header",
}
