"""A model that a server elsewhere has: no lifecycle, always awake, nothing of this node.

Interface:
    RemoteHands(name, model): Hands whose start opens a session to the server, and nothing else
    check(config)                     raises StartRefused where a key or a certificate cannot be read

What goes out bears llmux's own key, and none that a client has sent. The server's certificate is verified, and
redirections are not followed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from multidict import CIMultiDict
from yarl import URL

from llmux.server import _secret_file
from llmux.server._hands import Life, Stored
from llmux.server._model import Eviction, Weights
from llmux.server._wire import Asking, by_session
from llmux.server.config import Config, ModelConfig, RemoteConfig, eviction_fault
from llmux.server.errors import EvictionRefused, NoCheckpoint, Problem, StartRefused

log = logging.getLogger(__name__)

_ITS_OWN = (
    "Authorization",
    "X-Api-Key",
    "Api-Key",
    "X-Goog-Api-Key",
    "Cookie",
    "OpenAI-Organization",
    "OpenAI-Project",
)
"""What says to a server who its client is: llmux is the client here."""
_KEY = re.compile(r"[!-~]+")
_CONNECT = 10.0
"""Seconds for a connection to be there."""
_DOOR = "/v1"
"""What the paths of OpenAI's API begin with."""


class KeyRefusedError(aiohttp.ClientError):
    """The server takes llmux's own key for none; its words may be about the key, and are not for clients."""


def check(config: Config) -> None:
    """Read every key and certificate once. Raises StartRefused."""
    for name, model in config.models.items():
        if model.remote:
            _Access(name, model.remote).read()


@dataclass
class _Access:
    """How llmux shows a server who it is, and the other way round."""

    name: str
    remote: RemoteConfig
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    trust: ssl.SSLContext | bool = True

    def read(self) -> _Access:
        """Read the key and the certificates. Raises StartRefused."""
        self.headers = self._headers(self._key())
        self.trust = self._trust()
        return self

    def _key(self) -> str:
        if self.remote.api_key_env is not None:
            variable = self.remote.api_key_env
            return self._checked(os.environ.get(variable, ""), "api_key_env", variable)
        if self.remote.api_key_file is not None:
            path = self.remote.api_key_file
            try:
                return self._checked(_secret_file.read(path).decode("utf-8"), "api_key_file", str(path))
            except _secret_file.UnfitError as error:
                raise self._refused("api_key_file", str(error)) from error
            except UnicodeDecodeError as error:
                raise self._refused("api_key_file", f"{path} holds no text") from error
        return ""

    def _checked(self, text: str, where: str, source: str) -> str:
        key = text.strip()
        if not _KEY.fullmatch(key):
            what = (
                "holds no key: it has characters in it that no header takes"
                if key
                else "is empty, or not there"
            )
            raise self._refused(where, f"{source} {what}")
        return key

    def _headers(self, key: str) -> dict[str, str]:
        if not key:
            return {}
        name = self.remote.api_key_header
        return {name: f"Bearer {key}" if name == "authorization" else key}

    def _trust(self) -> ssl.SSLContext | bool:
        if self.remote.ca_file is None:
            return True
        try:
            return ssl.create_default_context(cafile=self.remote.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise self._refused("ca_file", f"{self.remote.ca_file} cannot be used: {error}") from error

    def _refused(self, where: str, what: str) -> StartRefused:
        hint = f"Mend it, or leave {where} out where the server wants none"
        return StartRefused(f"models.{self.name}.remote.{where}: {what}", hint=hint)


@dataclass(eq=False)
class RemoteLife:
    """The session with a server that is always taken for awake: what it cannot do it tells each request itself."""

    access: _Access
    session: aiohttp.ClientSession = field(init=False)
    started_at: float = field(default_factory=time.time)
    pid: int = 0
    init_pid: int = 0
    log: Path = Path(os.devnull)
    _closed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self.access.trust),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            middlewares=(self._introduce,),
        )

    async def _introduce(self, request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
        """Send a client's request on as llmux's own. Raises KeyRefusedError."""
        for name in _ITS_OWN:
            request.headers.popall(name, None)
        request.headers.update(self.access.headers)
        request.url = _there(self.url, request.url)
        response = await send(request)
        if response.status == HTTPStatus.UNAUTHORIZED:
            response.release()
            await self._read_key_again()
            raise KeyRefusedError(f"{self.url.origin()} answers 401: it does not take llmux's key for it")
        return response

    async def _read_key_again(self) -> None:
        """Take a key that has been replaced in its file meanwhile."""
        try:
            await asyncio.to_thread(self.access.read)
        except StartRefused as refused:
            log.warning("%s: %s", self.access.name, refused)

    @property
    def url(self) -> URL:
        return URL(self.access.remote.url)

    def ask(self, method: str, target: str, headers: CIMultiDict[str], body: bytes) -> Asking:
        url = URL(f"{self.url.origin()}{target}", encoded=True)
        return by_session(self.session, url, method, headers, body)

    @property
    def ended(self) -> bool:
        return self._closed.is_set()

    async def wait(self) -> Problem:
        await self._closed.wait()
        return Problem("engine_closed", f"the session with {self.url.origin()} is closed")

    async def fault(self) -> str:
        return ""

    async def post_mortem(self, fault: str) -> Problem:
        return Problem(
            "engine_hung", f"{self.url.origin()} answers nothing: {fault}", "The next request asks it again"
        )

    async def quieten(self, _weights: Weights) -> None:
        raise _no_sleep(self.access.name)

    async def suspend(self, _weights: Weights) -> None:
        raise _no_sleep(self.access.name)

    async def resume(self, weights: Weights) -> None:
        """Do nothing: it has not slept."""

    async def put_by(self) -> None:
        """Do nothing: it is not stopped, only left alone."""

    async def dump(self, _directory: Path) -> None:
        raise _no_sleep(self.access.name)

    async def gpu_memory(self) -> int | None:
        return None

    async def memory(self) -> int:
        return 0

    async def close(self) -> None:
        self._closed.set()
        await self.session.close()


class RemoteHands:
    """A remote model's work: none, but to open and close a session."""

    def __init__(self, name: str, model: ModelConfig) -> None:
        self._name = name
        self._model = model

    def refusal(self, eviction: Eviction) -> str:
        return eviction_fault(eviction, self._model)

    async def adopt(self) -> tuple[Life, Eviction | None] | None:
        return None

    def take(self, _life: Life) -> None:
        """Do nothing: it has no GPU here."""

    async def find(self) -> Stored | Problem | None:
        return None

    async def cold_start(self) -> Life:
        if self._model.remote is None:
            raise StartRefused(f"models.{self._name}.remote says nothing of where it is")
        return RemoteLife(await asyncio.to_thread(_Access(self._name, self._model.remote).read))

    async def dump(self, _life: Life, _eviction: Eviction, _began: float) -> Stored:
        raise _no_sleep(self._name)

    async def reusable(self, _life: Life, _eviction: Eviction) -> Stored | None:
        return None

    async def restore(self) -> tuple[Life, Stored | None]:
        raise NoCheckpoint(self._name)

    async def forget(self) -> None:
        """Do nothing: there is nothing of it here."""


def _no_sleep(name: str) -> EvictionRefused:
    return EvictionRefused(f"{name} runs elsewhere, and llmux can put it neither to sleep nor to disk")


def _there(base: URL, asked: URL) -> URL:
    """Return where a request goes: a path of the base stands in place of /v1, as in OpenAI's clients."""
    path, root = asked.raw_path, base.raw_path.rstrip("/")
    if path == _DOOR or path.startswith(f"{_DOOR}/"):
        there = f"{root or _DOOR}{path.removeprefix(_DOOR)}"
    else:
        there = f"{root.removesuffix(_DOOR)}{path}"
    return asked.with_path(there, encoded=True, keep_query=True)
