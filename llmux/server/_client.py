"""The control API from its other side, for commands: one place that knows HTTP, addresses and tokens.

Interface:
    Target.of(host, token)              where llmux is; host is HOST:PORT, a URL, or unix:PATH
    async with Client(target) as client:
        await client.get(path)          the JSON object of the answer
        await client.post(path, body)
Raises NotReached and Declined.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from llmux.server.errors import ServerError

DEFAULT_HOST = "localhost:3000"
_CONNECT_TIMEOUT = 10.0
"""Seconds; an answer itself may take as long as a model takes to wake."""

Json = dict[str, object]


@dataclass(eq=False)
class NotReached(ServerError):
    """Nobody answers there, or not as llmux does."""

    where: str
    reason: str

    def what(self) -> str:
        return f"llmux does not answer at {self.where}: {self.reason}"


@dataclass(eq=False)
class Declined(ServerError):
    """llmux answers that it will not, or cannot; `code_` is its word for why."""

    status: int
    code_: str
    message: str

    def what(self) -> str:
        return self.message.rstrip(".")


@dataclass(frozen=True)
class Target:
    """Where llmux is, and what lets us in."""

    url: URL
    socket: str | None = None
    token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, host: str, token: str | None = None) -> Target:
        """Read HOST, HOST:PORT, a URL or unix:PATH. Raises ValueError, saying what is wrong."""
        if host.startswith("unix:"):
            path = host.removeprefix("unix:").removeprefix("//")
            if not path.startswith("/"):
                raise ValueError("after unix: comes the absolute path of a socket")
            return cls(URL("http://llmux"), path, token)
        parts = urlsplit(host if "://" in host else f"http://{host}")
        if parts.scheme not in {"http", "https"}:
            raise ValueError(f"{parts.scheme} is not http, https or unix")
        if not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
            raise ValueError("give HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:PATH")
        port = parts.port or (443 if parts.scheme == "https" else 3000)
        return cls(URL.build(scheme=parts.scheme, host=parts.hostname, port=port), None, token)

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else str(self.url)


class Client:
    """Asks one llmux."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        token, socket = self._target.token, self._target.socket
        self._session = aiohttp.ClientSession(
            self._target.url,
            connector=aiohttp.UnixConnector(socket) if socket else aiohttp.TCPConnector(),
            headers={"Authorization": f"Bearer {token}"} if token else None,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def get(self, path: str) -> Json:
        """Return the JSON object at `path`."""
        return await self._ask("GET", path)

    async def post(self, path: str, body: Json) -> Json:
        """Send a JSON object and return the one that it is answered with."""
        return await self._ask("POST", path, body)

    async def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        if self._session is None:
            raise RuntimeError("the client is not entered")
        try:
            async with self._session.request(method, path, json=body, allow_redirects=False) as answer:
                status, text = answer.status, await answer.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NotReached(str(self._target), _reason(error), hint=_HINT) from error
        return self._read(status, text)

    def _read(self, status: int, text: str) -> Json:
        try:
            value: object = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            reason = f"it answers with {status} and no JSON object"
            raise NotReached(str(self._target), reason, hint="Is that llmux's port?")
        if status >= 400:
            raise _declined(status, value)
        return value


_HINT = "Say where it is with --host or LLMUX_HOST (HOST:PORT, a URL, or unix:PATH)"
_LOCKED_OUT = {401: "Give its token by LLMUX_TOKEN or --token", 403: "This token may not do that"}


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or str(error.os_error)
    return str(error) or type(error).__name__


def _declined(status: int, body: Json) -> Declined:
    """Return the error in OpenAI's form, whose message ends with its hint."""
    error = body.get("error")
    told = error if isinstance(error, dict) else {}
    hint = str(told.get("hint") or "")
    message = str(told.get("message") or f"it answers with {status}").removesuffix(hint).strip()
    return Declined(status, str(told.get("code") or ""), message, hint=hint or _LOCKED_OUT.get(status, ""))
