"""The control API from its other side, for commands: one place that knows HTTP, addresses and tokens.

Interface:
    Target.of(host, token)              where llmux is; host is HOST:PORT, a URL, or unix:PATH
    async with Client(target) as client:
        await client.get(path)          the JSON object of the answer
        await client.post(path, body)
        await client.put(path, body)
        await client.delete(path)
        async for line in client.lines(path): ...       what comes without end
        async with client.reply(method, path, body) as reply: ...     an answer as it comes, also one that is an error
    path_of(*parts, **query)            a path of which some parts are names that somebody chose
Raises NotReached and Declined.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import quote, urlencode, urlsplit

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
class NotLlmux(NotReached):
    """Somebody else answers there."""

    code: ClassVar[str] = NotReached.code

    def what(self) -> str:
        return f"what answers at {self.where} is not llmux: {self.reason}"


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


@dataclass(frozen=True)
class Reply:
    """An answer whose body is still to come."""

    status: int
    headers: Mapping[str, str]
    """By name, in whatever case."""
    content: aiohttp.StreamReader

    async def lines(self) -> AsyncIterator[str]:
        """Yield each line without its end, however long it is."""
        async for line in _whole_lines(self.content):
            yield line.decode("utf-8", "replace")

    async def text(self) -> str:
        """Return all of it."""
        return (await self.content.read()).decode("utf-8", "replace")


class Client:
    """Asks one llmux; how many questions there are at a time is for whoever asks them."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        token, socket = self._target.token, self._target.socket
        self._session = aiohttp.ClientSession(
            self._target.url,
            connector=aiohttp.UnixConnector(socket, limit=0) if socket else aiohttp.TCPConnector(limit=0),
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

    async def put(self, path: str, body: Json) -> Json:
        """Send a JSON object to be kept and return the one that it is answered with."""
        return await self._ask("PUT", path, body)

    async def delete(self, path: str) -> Json:
        """Have what is at `path` removed and return the JSON object of the answer."""
        return await self._ask("DELETE", path)

    async def lines(self, path: str) -> AsyncIterator[str]:
        """Yield each line at `path` without its end, until the answer ends."""
        try:
            async with self._entered.get(_url(path), allow_redirects=False) as answer:
                if answer.status != 200:
                    self._read(answer.status, await answer.text(errors="replace"), path)
                    raise NotReached(str(self._target), f"it answers with {answer.status}", hint=_HINT)
                async for line in _whole_lines(answer.content):
                    yield line.decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NotReached(str(self._target), _reason(error), hint=_HINT) from error

    @asynccontextmanager
    async def reply(self, method: str, path: str, body: Json | None = None) -> AsyncIterator[Reply]:
        """Give an answer once its headers are there, whatever they say. What breaks off while it is read is NotReached too."""
        try:
            async with self._entered.request(method, _url(path), json=body, allow_redirects=False) as answer:
                yield Reply(answer.status, answer.headers, answer.content)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise NotReached(str(self._target), _reason(error), hint=_HINT) from error

    @property
    def _entered(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is not entered")
        return self._session

    async def _ask(self, method: str, path: str, body: Json | None = None) -> Json:
        try:
            async with self._entered.request(method, _url(path), json=body, allow_redirects=False) as answer:
                status, text = answer.status, await answer.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise NotReached(str(self._target), _reason(error), hint=_HINT) from error
        return self._read(status, text, path)

    def _read(self, status: int, text: str, path: str) -> Json:
        try:
            value: object = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            reason = f"it answers with {status} and no JSON object"
            raise NotLlmux(str(self._target), reason, hint=f"Is that llmux's port? {_WHERE}")
        if status >= 400:
            told = _declined(status, value)
            if status == 404 and path.startswith("/control/") and not told.code_:
                raise NotLlmux(str(self._target), f"it has no {path.partition('?')[0]}", hint=_WHERE)
            raise told
        return value


def path_of(*parts: str, **query: str | int | None) -> str:
    """Return a path of these parts, whatever characters are in them, and a query of those that are not None."""
    asked = urlencode({name: value for name, value in query.items() if value is not None})
    return "/" + "/".join(quote(part, safe="") for part in parts) + (f"?{asked}" if asked else "")


def _url(path: str) -> URL:
    return URL(path, encoded=True)


async def _whole_lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield lines however long they are, which `readline` refuses."""
    pending = b""
    async for chunk in content.iter_any():
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield line
    if pending:
        yield pending


_WHERE = "Say where it is with --host or LLMUX_HOST (HOST:PORT, a URL, or unix:PATH)"
_HINT = f"Is `llmux serve` running? {_WHERE}"
_LOCKED_OUT = {401: "Give its token by LLMUX_TOKEN or --token", 403: "This token may not do that"}


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        found = error.os_error
        if isinstance(found, ConnectionError) and found.errno:
            return os.strerror(found.errno)  # asyncio's own words are about a call
        return found.strerror or str(found)
    return str(error) or type(error).__name__


def _declined(status: int, body: Json) -> Declined:
    """Return the error in OpenAI's form, whose message ends with its hint."""
    error = body.get("error")
    told = error if isinstance(error, dict) else {}
    hint = str(told.get("hint") or "")
    message = str(told.get("message") or f"it answers with {status}").removesuffix(hint).strip()
    code = told.get("code")  # a number is an engine's
    return Declined(
        status, code if isinstance(code, str) else "", message, hint=hint or _LOCKED_OUT.get(status, "")
    )
