"""llama.cpp's server: its command line. It has no call that lets go of the weights while it runs."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp

from llmux.server._model import Weights
from llmux.server.engines._http import LOOPBACK, HttpEngine

PROGRAM = ("llama-server",)


@dataclass(frozen=True)
class LlamaCppEngine(HttpEngine):
    """`llama-server`. /health is 503 until the model is loaded.

    Its weights are mapped from the file, so that they leave memory, and stay out of a checkpoint, with its process alone.
    """

    async def sleep(self, session: aiohttp.ClientSession, weights: Weights) -> None:
        """Do nothing: of its weights it can only retain all."""

    async def wake(self, session: aiohttp.ClientSession, weights: Weights) -> None:
        """Do nothing, likewise."""

    def _argv(self) -> tuple[str, ...]:
        program = (*(self.model.program or PROGRAM), "--model", self.model.model_path)
        address = ("--host", LOOPBACK, "--port", str(self.model.port), "--alias", self.name)
        return (*program, *address, *self.model.extra_args)
