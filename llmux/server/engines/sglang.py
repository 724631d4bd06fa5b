"""SGLang: its command line, and its API as far as llmux speaks it.

Memory is let go of and taken back by region: its KV cache and its weights (docs: SGLang for RL systems). Released weights
are gone unless it was started with --enable-weights-cpu-backup; what it then resumes is room, to be read into again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import assert_never

import aiohttp

from llmux.server._effect_errors import EngineRefused
from llmux.server._model import Weights
from llmux.server.engines import _http
from llmux.server.engines._http import LOOPBACK, ON_ONE_NODE, Body, HttpEngine

PROGRAM = ("python3", "-m", "sglang.launch_server")

_SGLANG = {"SGLANG_HOST_IP": LOOPBACK, **ON_ONE_NODE}
_WEIGHTS: Body = {"tags": ["weights"]}
_KV_CACHE: Body = {"tags": ["kv_cache"]}
_BOTH: Body = {"tags": ["kv_cache", "weights"]}
_AGAIN = 0.1
"""Seconds between two looks whether it is idle."""


@dataclass(frozen=True)
class SglangEngine(HttpEngine):
    """SGLang's server."""

    async def sleep(self, session: aiohttp.ClientSession, weights: Weights) -> None:
        match weights:
            case Weights.RETAIN:
                pass
            case Weights.OFFLOAD | Weights.DISCARD:
                await self._until_idle(session)
                await self._post(session, "/release_memory_occupation", self._timeouts.sleep, _BOTH)
            case _:
                assert_never(weights)

    async def _until_idle(self, session: aiohttp.ClientSession) -> None:
        """Wait for the end of what was cut off: it takes a release while it has requests for a fault of its own, and ends.

        Its cache is flushed only where nothing runs or waits, and a 400 says that something does.
        """
        try:
            async with asyncio.timeout(self._timeouts.sleep):
                while not await self._flushed(session):  # noqa: ASYNC110 - an engine's requests have no event here
                    await asyncio.sleep(_AGAIN)
        except TimeoutError:
            busy = f"it has requests still after {self._timeouts.sleep:g} s"
            url = str(self.url.with_path("/flush_cache"))
            raise EngineRefused(url, HTTPStatus.BAD_REQUEST, busy, hint=self._hint()) from None

    async def _flushed(self, session: aiohttp.ClientSession) -> bool:
        try:
            await self._post(session, "/flush_cache", self._timeouts.sleep)
        except EngineRefused as refused:
            if refused.status != HTTPStatus.BAD_REQUEST:
                raise
            return False
        return True

    async def wake(self, session: aiohttp.ClientSession, weights: Weights) -> None:
        timeout = self._timeouts.wake
        match weights:
            case Weights.RETAIN:
                pass
            case Weights.OFFLOAD:
                await self._post(session, "/resume_memory_occupation", timeout, _BOTH)
            case Weights.DISCARD:
                # In this order, so that what reads the weights has the KV cache's room too.
                await self._post(session, "/resume_memory_occupation", timeout, _WEIGHTS)
                await self._post(
                    session, "/update_weights_from_disk", timeout, {"model_path": self.model.model_path}
                )
                await self._post(session, "/resume_memory_occupation", timeout, _KV_CACHE)
            case _:
                assert_never(weights)

    def _argv(self) -> tuple[str, ...]:
        # Its memory saver is CUDA's; without it both calls do nothing, and the weights stay.
        saver = ("--enable-memory-saver",) if _http.NVIDIA_CONTROL.exists() else ()
        program = (*(self.model.program or PROGRAM), "--model-path", self.model.model_path)
        address = ("--host", LOOPBACK, "--port", str(self.model.port), "--served-model-name", self.name)
        return (*program, *address, *saver, *self.model.extra_args)

    def _environment(self) -> Mapping[str, str]:
        return _SGLANG
