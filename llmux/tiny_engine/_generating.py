"""What every API of the engine does with a request once it is read: has its answers made, one after the other."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from llmux.tiny_engine._adapters import AdapterRegistry
from llmux.tiny_engine._client import EngineClient, Piece
from llmux.tiny_engine._faults import Faults
from llmux.tiny_engine._protocol import Inference, Limits
from llmux.tiny_engine._tokenizer import Tokenizer

_LOG = logging.getLogger("llmux.tiny_engine.api")


class Generating:
    """The engine as its APIs use it."""

    def __init__(self, engine: EngineClient, tokenizer: Tokenizer, limits: Limits) -> None:
        self._limits = limits
        self.engine = engine
        self.tokenizer = tokenizer
        self.adapters = AdapterRegistry(engine, limits.model)
        self.faults = Faults(engine)

    @property
    def limits(self) -> Limits:
        """Return what is served now, adapters included."""
        return replace(self._limits, adapters=self.adapters.names)

    async def pieces(self, name: str, asked: Inference) -> AsyncGenerator[Piece]:
        """Stream the answers to a request that is known as `name`; each draws by a seed of its own.

        Raises NotReadyError, BusyError, WorkerDiedError.
        """
        _LOG.info("%s: %s, %d tokens of prompt, %s", name, asked.model, len(asked.prompt), asked.sampling)
        adapter = self.adapters.find(asked.model)
        for index in range(asked.choices):
            seed = asked.sampling.seed
            sampling = replace(asked.sampling, seed=None if seed is None else seed + index)
            generated = self.engine.generate(f"{name}-{index}", asked.prompt, sampling, asked.stops, adapter)
            async with aclosing(self.faults.stalled(generated)) as pieces:
                async for piece in pieces:
                    yield replace(piece, index=index)
