"""Any program with an OpenAI-compatible API: its own words, and calls of its own or vLLM's as far as it has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

from llmux.server._effect_errors import EngineRefused
from llmux.server.engines._http import Body
from llmux.server.engines.vllm import VllmEngine

_LACKING = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})


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


def _replaced(word: str, words: Mapping[str, str]) -> str:
    for name, value in words.items():
        word = word.replace(name, value)
    return word
