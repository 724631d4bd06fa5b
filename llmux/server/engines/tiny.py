"""The embedded engine, for demos and tests."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from llmux.server.engines.vllm import VllmEngine


@dataclass(frozen=True)
class TinyEngine(VllmEngine):
    """The embedded engine, which speaks vLLM's API."""

    def _argv(self) -> tuple[str, ...]:
        # -P: whatever directory llmux was started in, nothing in it is taken for a module.
        program = (sys.executable, "-P", "-m", "llmux.tiny_engine", "serve", self.model.model_path)
        return (*program, *self._address(), *self._lora(), *self.model.extra_args)

    def _environment(self) -> Mapping[str, str]:
        return self._lora_environment()
