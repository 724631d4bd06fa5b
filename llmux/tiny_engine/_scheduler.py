"""Which sequence makes its next token when: round after round, each running sequence one token. No effects, no clock."""

from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from llmux.tiny_engine._lora import Delta
from llmux.tiny_engine._messages import Add, Finish, Output
from llmux.tiny_engine._model import Model, State, choose, logprobs_of
from llmux.tiny_engine._tokenizer import END
from llmux.tiny_engine.errors import TinyEngineError

_NOW: Final = 0.0


@dataclass
class _Sequence:
    add: Add
    state: State
    random: np.random.Generator
    since: float
    """When its last token was made, or it came."""
    delta: Delta | None
    produced: int = 0


class Scheduler:
    """The running sequences.

    `token_delay` is the least time, in seconds, before each token of a sequence; those of more than `adapters` different
    adapters do not run together: the later ones wait.
    """

    def __init__(self, model: Model, token_delay: float, adapters: int) -> None:
        self._model = model
        self.token_delay = token_delay
        self._adapters = adapters
        self._running: dict[str, _Sequence] = {}
        self.paused = False
        self.aborted = 0
        self.generated = 0

    def __len__(self) -> int:
        return len(self._running)

    def add(self, add: Add, prompt: list[int], now: float) -> None:
        """Start a sequence. Raises NotReadyError, AdapterNotFoundError, AdapterRefusedError."""
        random = np.random.default_rng(add.sampling.seed)
        delta = None if add.adapter is None else self._model.adapters.use(add.adapter)
        state = self._model.prefill(prompt)
        self._running[add.request] = _Sequence(add, state, random, now, delta)

    def end(self, request: str, *, aborted: bool) -> None:
        """Forget a sequence; one that has just ended by itself is no error."""
        if self._running.pop(request, None) is not None and aborted:
            self.aborted += 1

    def abort_all(self) -> list[Output]:
        outputs = [Output(request, finish=Finish.ABORT) for request in self._running]
        self.aborted += len(outputs)
        self._running.clear()
        return outputs

    def fail_all(self, error: TinyEngineError) -> list[Output]:
        """End all sequences, for something that is wrong with the engine."""
        outputs = [
            Output(request, finish=Finish.ERROR, message=error.message, hint=error.hint)
            for request in self._running
        ]
        self._running.clear()
        return outputs

    def wait(self, now: float) -> float | None:
        """Seconds until the next token is due; None while there is nothing to do."""
        if self.paused or not self._running:
            return None
        return max(_NOW, min(sequence.since for sequence in self._in_turn()) + self.token_delay - now)

    def step(self, now: float) -> list[Output]:
        """Make the tokens that are due. Raises NotReadyError, DeviceError."""
        if self.paused:
            return []
        due = [sequence for sequence in self._in_turn() if sequence.since + self.token_delay <= now]
        return [output for sequence in due for output in self._next(sequence, now)]

    def _in_turn(self) -> list[_Sequence]:
        """Return the sequences that may run now: those of the adapters that came first."""
        adapters = dict.fromkeys(each.add.adapter for each in self._running.values() if each.add.adapter)
        turn = {None, *islice(adapters, self._adapters)}
        return [sequence for sequence in self._running.values() if sequence.add.adapter in turn]

    def _next(self, sequence: _Sequence, now: float) -> list[Output]:
        request, sampling = sequence.add.request, sequence.add.sampling
        logits = self._model.logits(sequence.state, sequence.delta)
        token = choose(logits.copy(), sampling, sequence.random)
        logprobs = () if sampling.logprobs is None else logprobs_of(logits, token, sampling.logprobs)
        sequence.produced += 1
        sequence.since = now
        self.generated += 1
        ended = token == END
        finish = Finish.STOP if ended else Finish.LENGTH if sequence.produced == sampling.max_tokens else None
        if finish is None:
            sequence.state = self._model.advance(sequence.state, token)
        else:
            del self._running[request]
        return [Output(request, None if ended else token, finish, logprobs=() if ended else logprobs)]
