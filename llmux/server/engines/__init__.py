"""The engines: one module for each, behind one protocol. docs/engines.md says what each needs, and how to add one.

Interface:
    make(name, model, log) -> Engine          by the model's configuration; `name` is what clients ask for
    open_session() -> aiohttp.ClientSession   keeps no connection open, so that none is in a dump
    Engine: .url, .keeps_connections, .command(environ) -> Command, and over a session
        await .healthy(session) -> bool       whether it is ready now
        await .ask_health(session)            the same as an error
        await .sleep(session, weights)        let go of the weights as far as `weights` says
        await .wake(session, weights)         take them back; `weights` as they were put to sleep
        await .put_by(session)                before a stop: write down what the next start can take up, if anything
        await .take_up(session)               after a start: read it

The calls raise EngineUnreachable and EngineRefused, which name URL and status.
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from llmux.server.config import ModelConfig
from llmux.server.engines._http import LOOPBACK, Engine, open_session
from llmux.server.engines.command import CommandEngine
from llmux.server.engines.llama_cpp import LlamaCppEngine
from llmux.server.engines.sglang import SglangEngine
from llmux.server.engines.tiny import TinyEngine
from llmux.server.engines.vllm import VllmEngine

__all__ = ["LOOPBACK", "Engine", "make", "open_session"]


def make(name: str, model: ModelConfig, log: Path) -> Engine:
    """Return the engine that `model` asks for; it serves under `name` and logs to `log`."""
    match model.engine:
        case "vllm":
            return VllmEngine(name, model, log)
        case "tiny":
            return TinyEngine(name, model, log)
        case "sglang":
            return SglangEngine(name, model, log)
        case "llama.cpp":
            return LlamaCppEngine(name, model, log)
        case "command":
            return CommandEngine(name, model, log)
        case "remote":
            raise ValueError("a remote model has no engine here; RemoteHands serve it")
        case _:
            assert_never(model.engine)
