"""The engines: their command lines, and vLLM's HTTP API as far as llmux speaks it.

Interface:
    make(name, model, log) -> Engine          by the model's configuration; `name` is what clients ask for
    open_session() -> aiohttp.ClientSession   keeps no connection open, so that none is in a dump
    Engine: .url, .command(environ) -> Command, and over a session
        await .healthy(session) -> bool       whether /health is 200 now
        await .ask_health(session)            the same as an error
        await .sleep(session, weights)        let go of the weights as far as `weights` says
        await .wake(session, weights)         take them back; `weights` as they were put to sleep

The calls raise EngineUnreachable and EngineRefused, which name URL and status. vLLM serves /sleep, /wake_up,
/collective_rpc and /reset_prefix_cache with VLLM_SERVER_DEV_MODE=1 only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Protocol, assert_never

import aiohttp
from yarl import URL

from llmux.server import _lora
from llmux.server._effect_errors import EngineRefused, EngineUnreachable
from llmux.server._model import Weights
from llmux.server._sandbox import Command
from llmux.server.config import ModelConfig, Timeouts

LOOPBACK = "127.0.0.1"

_NVIDIA_CONTROL = Path("/dev/nvidiactl")
_ERROR_EXCERPT = 500

_EVERY_ENGINE = {"PYTHONUNBUFFERED": "1"}
_VLLM = {
    # The sleep and wake calls are part of vLLM's development mode.
    "VLLM_SERVER_DEV_MODE": "1",
    # libuv before 1.52 heeds it; the sandbox's filter answers the later ones.
    "UV_USE_IO_URING": "0",
    # Addresses that every container has: another one's would be in the dump else.
    "VLLM_HOST_IP": LOOPBACK,
    "GLOO_SOCKET_IFNAME": "lo",
}


class Engine(Protocol):
    """A program that serves one model."""

    @property
    def url(self) -> URL:
        """Where it answers."""

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


def make(name: str, model: ModelConfig, log: Path) -> Engine:
    """Return the engine that `model` asks for; it serves under `name` and logs to `log`."""
    match model.engine:
        case "vllm":
            return VllmEngine(name, model, log)
        case "tiny":
            return TinyEngine(name, model, log)
        case "command":
            return CommandEngine(name, model, log)
        case _:
            assert_never(model.engine)


def open_session() -> aiohttp.ClientSession:
    """Return a session that closes each connection after its answer, and asks the engine to do so too."""
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, headers={"Connection": "close"})


@dataclass(frozen=True)
class VllmEngine:
    """vLLM's OpenAI-compatible server."""

    name: str
    model: ModelConfig
    log: Path

    @property
    def url(self) -> URL:
        return URL.build(scheme="http", host=LOOPBACK, port=self.model.port)

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

    async def sleep(self, session: aiohttp.ClientSession, weights: Weights) -> None:
        match weights:
            case Weights.RETAIN:
                pass
            case Weights.OFFLOAD:
                await self._post(session, "/sleep?level=1", self._timeouts.sleep)
            case Weights.DISCARD:
                await self._post(session, "/sleep?level=2", self._timeouts.sleep)
            case _:
                assert_never(weights)

    async def wake(self, session: aiohttp.ClientSession, weights: Weights) -> None:
        timeout = self._timeouts.wake
        match weights:
            case Weights.RETAIN:
                pass
            case Weights.OFFLOAD:
                await self._post(session, "/wake_up", timeout)
            case Weights.DISCARD:
                # In this order, so that weights and KV cache are never both in memory twice over.
                await self._post(session, "/wake_up?tags=weights", timeout)
                await self._post(session, "/collective_rpc", timeout, {"method": "reload_weights"})
                await self._post(session, "/wake_up?tags=kv_cache", timeout)
                await self._post(session, "/reset_prefix_cache", timeout)
                await self._drop_adapters(session)
            case _:
                assert_never(weights)

    async def _drop_adapters(self, session: aiohttp.ClientSession) -> None:
        """Have it forget its adapters: reload_weights brings back the model's own weights only, so that theirs are gone."""
        if not self.model.adapters:
            return
        for name in await self._adapters(session):
            await self._post(session, _lora.UNLOAD, self._timeouts.wake, _lora.unload_body(name))

    async def _adapters(self, session: aiohttp.ClientSession) -> Iterable[str]:
        answer = await self._call(session, "GET", _lora.LIST, self._timeouts.wake)
        try:
            return _lora.adapters_in(answer)
        except ValueError as error:
            url = str(self.url.with_path(_lora.LIST))
            raise EngineRefused(url, HTTPStatus.OK, str(error), hint=self._hint()) from error

    @property
    def _timeouts(self) -> Timeouts:
        return self.model.timeouts

    def _argv(self) -> tuple[str, ...]:
        # vLLM refuses sleep mode where there is no accelerator; there its /sleep pauses the scheduler alone.
        sleep_mode = ("--enable-sleep-mode",) if _NVIDIA_CONTROL.exists() else ()
        program = (*self.model.vllm_command, "serve", self.model.model_path)
        return (*program, *self._address(), *sleep_mode, *self._lora(), *self.model.extra_args)

    def _address(self) -> tuple[str, ...]:
        return ("--host", LOOPBACK, "--port", str(self.model.port), "--served-model-name", self.name)

    def _lora(self) -> tuple[str, ...]:
        if not self.model.adapters:
            return ()
        return ("--enable-lora", "--max-loras", str(self.model.max_adapters))

    def _environment(self) -> Mapping[str, str]:
        return {**_VLLM, **self._lora_environment()}

    def _lora_environment(self) -> Mapping[str, str]:
        return _lora.ALLOWED_BY if self.model.adapters else {}

    async def _post(
        self, session: aiohttp.ClientSession, path: str, seconds: float, body: Mapping[str, str] | None = None
    ) -> None:
        await self._call(session, "POST", path, seconds, body)

    async def _call(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        seconds: float,
        body: Mapping[str, str] | None = None,
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


@dataclass(frozen=True)
class TinyEngine(VllmEngine):
    """The embedded engine, which speaks vLLM's API."""

    def _argv(self) -> tuple[str, ...]:
        program = (sys.executable, "-m", "llmux.tiny_engine", "serve", self.model.model_path)
        return (*program, *self._address(), *self._lora(), *self.model.extra_args)

    def _environment(self) -> Mapping[str, str]:
        return self._lora_environment()


@dataclass(frozen=True)
class CommandEngine(VllmEngine):
    """Any program that answers /health; where it has no vLLM sleep API its weights stay in its memory.

    `{port}`, `{model_path}` and `{name}` in the command's words are replaced.
    """

    def _argv(self) -> tuple[str, ...]:
        words = {"{port}": str(self.model.port), "{model_path}": self.model.model_path, "{name}": self.name}
        return tuple(_replaced(word, words) for word in (*self.model.command, *self.model.extra_args))

    def _environment(self) -> Mapping[str, str]:
        return self._lora_environment()

    async def _post(
        self, session: aiohttp.ClientSession, path: str, seconds: float, body: Mapping[str, str] | None = None
    ) -> None:
        try:
            await self._call(session, "POST", path, seconds, body)
        except EngineRefused as refused:
            if refused.status not in {
                HTTPStatus.NOT_FOUND,
                HTTPStatus.METHOD_NOT_ALLOWED,
                HTTPStatus.NOT_IMPLEMENTED,
            }:
                raise

    async def _adapters(self, session: aiohttp.ClientSession) -> Iterable[str]:
        try:
            return await super()._adapters(session)
        except EngineRefused:  # one that has not even the list has no adapters either
            return ()


def _replaced(word: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        word = word.replace(name, value)
    return word
