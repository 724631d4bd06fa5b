"""The certificate that llmux shows, read again when its files change: connections that come later see the new one."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

from llmux.server import _secret_file
from llmux.server.config import Config, TlsConfig
from llmux.server.errors import NodeUnfit

log = logging.getLogger(__name__)

LOOK_EVERY = 2.0
"""Seconds between two looks at the files."""

_State = tuple[tuple[int, ...] | None, ...]


class Certificates:
    """The certificate in force, and the context that every listener has."""

    def __init__(self, config: TlsConfig) -> None:
        """Read it. Raises NodeUnfit."""
        self._config = config
        self._read = self._look()
        self._newest = _load(config)
        self.context = _load(config)
        """What listeners are given; each handshake goes on with the newest certificate."""
        self.context.sni_callback = self._choose

    def prepare(self, _wanted: Config) -> Callable[[], None]:
        """Read the files, which stay where they are; return what puts the certificate in force. Raises NodeUnfit."""
        read = self._look()
        return partial(self._take, _load(self._config), read)

    async def watch(self) -> None:
        """Take a new certificate each time that both files have stayed for a look and are others than were read."""
        before = self._read
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = await asyncio.to_thread(self._look)
            if now == before != self._read:
                await self._try(now)
            before = now

    async def _try(self, state: _State) -> None:
        try:
            newest = await asyncio.to_thread(_load, self._config)
        except NodeUnfit as error:
            self._read = state  # told once
            log.error("the certificate stays as it is: %s", error)  # noqa: TRY400 - no fault of llmux
        else:
            self._take(newest, state)
            log.info("the certificate %s was read anew", self._config.certificate)

    def _take(self, newest: ssl.SSLContext, read: _State) -> None:
        self._newest, self._read = newest, read

    # Called in each handshake, whether the client names a server or not (the ssl module's documentation).
    def _choose(
        self, handshake: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        handshake.context = self._newest

    def _look(self) -> _State:
        return tuple(map(_state, (self._config.certificate, self._config.key)))


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def _load(config: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        config.certificate.read_bytes()
    except OSError as error:
        fault = f"tls.certificate: cannot read {config.certificate}: {error.strerror or error}"
        raise NodeUnfit((fault,)) from error
    try:
        _secret_file.read(config.key)
    except _secret_file.UnfitError as error:
        raise NodeUnfit((f"tls.key: {error}",)) from error
    try:
        # A password is never asked for on a terminal.
        context.load_cert_chain(config.certificate, config.key, password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        fault = f"tls: {config.certificate} and {config.key} are no certificate and its key without a password, in PEM: {reason}"
        raise NodeUnfit((fault,)) from error
    return context
