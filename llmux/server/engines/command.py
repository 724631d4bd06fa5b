"""Any program with an OpenAI-compatible API: its own words, and calls of its own or vLLM's as far as it has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

import aiohttp
from pydantic import JsonValue

from llmux.server._effect_errors import EngineRefused
from llmux.server._model import Weights
from llmux.server.config import CallConfig
from llmux.server.engines._http import Body
from llmux.server.engines.vllm import VllmEngine

_LACKING = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class CommandEngine(VllmEngine):
    """Any program that answers `calls.health`.

    It sleeps and wakes by the calls that are configured. Where none are they are vLLM's, and one that has not even those
    keeps its weights.
    """

    @property
    def keeps_connections(self) -> bool:
        return self.model.calls.keep_alive

    async def ask_health(self, session: aiohttp.ClientSession) -> None:
        await self._call(session, "GET", self.model.calls.health, self._timeouts.health)

    async def sleep(self, session: aiohttp.ClientSession, weights: Weights) -> None:
        if self.model.calls.sleep is None:
            await super().sleep(session, weights)
        else:
            await self._calls(session, self.model.calls.sleep, weights, self._timeouts.sleep)

    async def wake(self, session: aiohttp.ClientSession, weights: Weights) -> None:
        if self.model.calls.wake is None:
            await super().wake(session, weights)
        else:
            await self._calls(session, self.model.calls.wake, weights, self._timeouts.wake)

    async def _calls(
        self, session: aiohttp.ClientSession, calls: Iterable[CallConfig], weights: Weights, seconds: float
    ) -> None:
        if weights is Weights.RETAIN:
            return
        words = {**self._words, "weights": weights.value}
        quoted = {name: quote(word, safe="") for name, word in words.items()}
        for call in calls:
            body = (
                None
                if call.body is None
                else {name: _filled(each, words) for name, each in call.body.items()}
            )
            await self._call(session, call.method, _replaced(call.path, quoted), seconds, body)

    @property
    def _words(self) -> Mapping[str, str]:
        return {"port": str(self.model.port), "model_path": self.model.model_path, "name": self.name}

    def _argv(self) -> tuple[str, ...]:
        words = self._words
        return tuple(_replaced(word, words) for word in (*self.model.command, *self.model.extra_args))

    def _environment(self) -> Mapping[str, str]:
        return self._lora_environment()

    async def _post(
        self, session: aiohttp.ClientSession, path: str, seconds: float, body: Body | None = None
    ) -> None:
        try:
            await self._call(session, "POST", path, seconds, body)
        except EngineRefused as refused:
            if refused.status not in _LACKING:
                raise

    async def _adapters(self, session: aiohttp.ClientSession) -> Iterable[str]:
        try:
            return await super()._adapters(session)
        except EngineRefused:  # one that has not even the list has no adapters either
            return ()


def _replaced(text: str, words: Mapping[str, str]) -> str:
    """Fill in what stands in braces and is among `words`; other braces stay, as JSON has them."""
    return _PLACE.sub(lambda place: words.get(place[1], place[0]), text)


def _filled(value: JsonValue, words: Mapping[str, str]) -> JsonValue:
    match value:
        case str():
            return _replaced(value, words)
        case list():
            return [_filled(each, words) for each in value]
        case dict():
            return {name: _filled(each, words) for name, each in value.items()}
        case _:
            return value
