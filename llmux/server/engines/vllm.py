"""vLLM: its command line, and its API as far as llmux speaks it.

vLLM serves /sleep, /wake_up, /collective_rpc and /reset_prefix_cache with VLLM_SERVER_DEV_MODE=1 only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import assert_never

import aiohttp

from llmux.server._effect_errors import EngineRefused
from llmux.server._model import Weights
from llmux.server.config import RankSettings, rank_settings
from llmux.server.engines import _http, _lora
from llmux.server.engines._http import LOOPBACK, ON_ONE_NODE, HttpEngine

_VLLM = {
    # The sleep and wake calls are part of vLLM's development mode.
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_HOST_IP": LOOPBACK,
    **ON_ONE_NODE,
}


@dataclass(frozen=True)
class VllmEngine(HttpEngine):
    """vLLM's OpenAI-compatible server."""

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

    def _argv(self) -> tuple[str, ...]:
        # vLLM refuses sleep mode where there is no accelerator; there its /sleep pauses the scheduler alone.
        sleep_mode = ("--enable-sleep-mode",) if _http.NVIDIA_CONTROL.exists() else ()
        program = (*self.model.vllm_command, "serve", self.model.model_path)
        ranks = self._ranks().arguments
        return (*program, *self._address(), *sleep_mode, *ranks, *self._lora(), *self.model.extra_args)

    def _ranks(self) -> RankSettings:
        return rank_settings(self.model) if _http.NVIDIA_CONTROL.exists() else RankSettings()

    def _address(self) -> tuple[str, ...]:
        return ("--host", LOOPBACK, "--port", str(self.model.port), "--served-model-name", self.name)

    def _lora(self) -> tuple[str, ...]:
        if not self.model.adapters:
            return ()
        return ("--enable-lora", "--max-loras", str(self.model.max_adapters))

    def _environment(self) -> Mapping[str, str]:
        return {**_VLLM, **self._ranks().env, **self._lora_environment()}

    def _lora_environment(self) -> Mapping[str, str]:
        return _lora.ALLOWED_BY if self.model.adapters else {}
