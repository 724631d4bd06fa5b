"""What llmux asks of an engine over HTTP, and what is the same for all that run here: address, environment, health."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

import aiohttp
from pydantic import JsonValue
from yarl import URL

from llmux.server._effect_errors import EngineRefused, EngineUnreachable
from llmux.server._gpu_names import BY_BUS, ORDER
from llmux.server._model import Weights
from llmux.server._sandbox import Command
from llmux.server.config import ModelConfig, Timeouts

LOOPBACK = "127.0.0.1"
NVIDIA_CONTROL = Path("/dev/nvidiactl")
"""Is there where programs may use NVIDIA's GPUs."""

ON_ONE_NODE = {
    # libuv before 1.52 heeds it; the sandbox's filter answers the later ones.
    "UV_USE_IO_URING": "0",
    # An address that every container has: another one's would be in the dump else.
    "GLOO_SOCKET_IFNAME": "lo",
}
"""What engines need that are PyTorch programs with several processes."""

_EVERY_ENGINE = {
    "PYTHONUNBUFFERED": "1",
    # An index is the same GPU for an engine, for NVML and for llmux.
    ORDER: BY_BUS,
}
_ERROR_EXCERPT = 500

Body = Mapping[str, JsonValue]


class Engine(Protocol):
    """A program that serves one model."""

    @property
    def url(self) -> URL:
        """Where it answers."""

    @property
    def keeps_connections(self) -> bool:
        """Whether a connection may be kept open between two requests: it costs the engine next to nothing, and answers never run over."""

    def command(self, environ: Mapping[str, str]) -> Command:
        """Return how to start it; it inherits `environ`, and the model's own `env` wins."""

    async def healthy(self, session: aiohttp.ClientSession) -> bool:
        """Say whether it is ready to serve."""

    async def ask_health(self, session: aiohttp.ClientSession) -> None:
        """Do nothing if it is. Raises EngineUnreachable and EngineRefused."""

    async def sleep(self, session: aiohttp.ClientSession, weights: Weights) -> None:
        """Make it let go of its weights."""

    async def wake(self, session: aiohttp.ClientSession, weights: Weights) -> None:
        """Make it serve again."""

    async def put_by(self, session: aiohttp.ClientSession) -> None:
        """Have it write down what its next start can take up, where it has such a thing: it is about to be stopped."""

    async def take_up(self, session: aiohttp.ClientSession) -> None:
        """Have it read that again: it has just been started."""


def open_session() -> aiohttp.ClientSession:
    """Return a session that closes each connection after its answer, and asks the engine to do so too."""
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, headers={"Connection": "close"})


@dataclass(frozen=True)
class HttpEngine(ABC):
    """What the engines that run here have in common. Each has `_argv`, and what else is its own."""

    name: str
    """What clients ask for."""
    model: ModelConfig
    log: Path

    @cached_property
    def url(self) -> URL:
        return URL.build(scheme="http", host=LOOPBACK, port=self.model.port)

    @property
    def keeps_connections(self) -> bool:
        return True

    def command(self, environ: Mapping[str, str]) -> Command:
        env = {**environ, **_EVERY_ENGINE, **self._environment(), **self.model.env}
        return Command(self._argv(), env, "/", self.log)

    async def healthy(self, session: aiohttp.ClientSession) -> bool:
        try:
            await self.ask_health(session)
        except (EngineUnreachable, EngineRefused):
            return False
        return True

    async def ask_health(self, session: aiohttp.ClientSession) -> None:
        await self._call(session, "GET", "/health", self._timeouts.health)

    async def put_by(self, session: aiohttp.ClientSession) -> None:  # noqa: B027 - for those that can
        """Do nothing: most keep nothing over a stop."""

    async def take_up(self, session: aiohttp.ClientSession) -> None:  # noqa: B027 - for those that can
        """Do nothing, likewise."""

    @abstractmethod
    def _argv(self) -> tuple[str, ...]:
        """Return its command line."""

    def _environment(self) -> Mapping[str, str]:
        return {}

    @property
    def _timeouts(self) -> Timeouts:
        return self.model.timeouts

    async def _post(
        self, session: aiohttp.ClientSession, path: str, seconds: float, body: Body | None = None
    ) -> None:
        await self._call(session, "POST", path, seconds, body)

    async def _call(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        seconds: float,
        body: Body | None = None,
    ) -> bytes:
        """Return the answer's body; anything but a 2xx within `seconds` is an error."""
        url = self.url.join(URL(path))
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with session.request(method, url, json=body, timeout=timeout) as response:
                answer = await response.read()
        except TimeoutError as error:
            raise EngineUnreachable(str(url), f"no answer within {seconds:g} s", hint=self._hint()) from error
        except aiohttp.ClientError as error:
            raise EngineUnreachable(
                str(url), str(error) or type(error).__name__, hint=self._hint()
            ) from error
        if response.status >= HTTPStatus.BAD_REQUEST:
            excerpt = answer.decode("utf-8", "replace").strip()[:_ERROR_EXCERPT]
            raise EngineRefused(str(url), response.status, excerpt, hint=self._hint())
        return answer

    def _hint(self) -> str:
        return f"The engine's own log is {self.log}"
