"""A model directory loaded and run: a running sequence's state, the prefix cache, and the choice of a token."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from llmux.tiny_engine._compile import MEMORY_DECAY, compiled_step
from llmux.tiny_engine._config import Shape, load_shape
from llmux.tiny_engine._device import Device
from llmux.tiny_engine._lora import Adapters, Delta, LoraLimits
from llmux.tiny_engine._messages import Sampling
from llmux.tiny_engine._tokenizer import END
from llmux.tiny_engine._weights import Array, Weights
from llmux.tiny_engine.errors import NotReadyError

CONFIG: Final = "config.json"
TOKENIZER: Final = "tokenizer.json"
WEIGHTS: Final = "model.safetensors"

_BLOCK: Final = 16
_CACHED_PREFIXES: Final = 512


@dataclass(frozen=True)
class State:
    """What a sequence of tokens leaves behind: the last tokens, oldest first, and the fading memory of all."""

    recent: tuple[int, ...]
    memory: Array


class PrefixCache:
    """The kv_cache: states after prefixes of whole blocks; the least recently used goes first."""

    def __init__(self) -> None:
        self._states: OrderedDict[tuple[int, ...], State] = OrderedDict()
        self.asleep = False
        self.queries = 0
        self.hits = 0

    def __len__(self) -> int:
        return len(self._states)

    def clear(self) -> None:
        self._states.clear()

    def sleep(self) -> None:
        self.clear()
        self.asleep = True

    def wake(self) -> None:
        self.asleep = False

    def put(self, prefix: tuple[int, ...], state: State) -> None:
        self._states[prefix] = state
        if len(self._states) > _CACHED_PREFIXES:
            self._states.popitem(last=False)

    def longest(self, tokens: Sequence[int]) -> tuple[int, State] | None:
        """Find the longest known prefix: its length and its state. Raises NotReadyError."""
        if self.asleep:
            raise NotReadyError("the kv_cache is asleep", "POST /wake_up?tags=kv_cache first")
        self.queries += 1
        for length in range(len(tokens) // _BLOCK * _BLOCK, 0, -_BLOCK):
            key = tuple(tokens[:length])
            if key in self._states:
                self.hits += 1
                self._states.move_to_end(key)
                return length, self._states[key]
        return None


class Model:
    """The network with its weights, its prefix cache and its adapters. What reads weights raises DeviceError too."""

    def __init__(self, directory: Path, cache: Path, limits: LoraLimits, device: Device) -> None:
        self.shape: Shape = load_shape(directory / CONFIG)
        self.device = device
        self.weights = Weights(directory / WEIGHTS, self.shape, device)
        self.compiled = compiled_step(self.shape, cache)
        self.prefixes = PrefixCache()
        self.adapters = Adapters(self.shape, limits)

    def prefill(self, tokens: Sequence[int]) -> State:
        """Read a prompt. Raises NotReadyError."""
        table = self.weights.tensors().memory
        start, state = self.prefixes.longest(tokens) or (
            0,
            State((END,) * self.shape.context, np.zeros(self.shape.memory, np.float32)),
        )
        for index, token in enumerate(tokens[start:], start + 1):
            state = _advance(state, token, table)
            if index % _BLOCK == 0:
                self.prefixes.put(tuple(tokens[:index]), state)
        return state

    def advance(self, state: State, token: int) -> State:
        return _advance(state, token, self.weights.tensors().memory)

    def embed(self, tokens: Sequence[int]) -> Array:
        """Return a text as a direction: its fading memory, of length 1. Raises NotReadyError."""
        memory = self.prefill(tokens).memory
        return (memory / (np.linalg.norm(memory) or 1.0)).astype(np.float32)

    def logits(self, state: State, delta: Delta | None) -> Array:
        logits = self.compiled.step(self.weights.tensors(), state.recent, state.memory, delta)
        self.device.count(logits.tobytes())
        return logits

    def check(self, *, thorough: bool) -> None:
        """Look at what is on the device: the count, the weights, of the ballast a piece or all. Raises DeviceError."""
        self.device.check()
        self.weights.check(thorough=thorough)


def _advance(state: State, token: int, table: Array) -> State:
    memory = (state.memory * np.float32(MEMORY_DECAY) + table[token]).astype(np.float32)
    return State((*state.recent[1:], token), memory)


def choose(logits: Array, sampling: Sampling, random: np.random.Generator) -> int:
    """Pick the most likely token at temperature 0, else draw one (top_k, then top_p)."""
    if sampling.ignore_eos:
        logits[END] = -np.inf
    if sampling.temperature == 0:
        return int(np.argmax(logits))
    order = np.argsort(-logits, kind="stable")
    scaled = logits[order].astype(np.float64) / sampling.temperature
    probabilities = np.exp(scaled - scaled[0])
    if sampling.top_k > 0:
        probabilities[sampling.top_k :] = 0
    probabilities /= probabilities.sum()
    probabilities[1:][np.cumsum(probabilities)[:-1] >= sampling.top_p] = 0
    return int(random.choice(order, p=probabilities / probabilities.sum()))


def logprobs_of(logits: Array, token: int, most: int) -> tuple[tuple[int, float], ...]:
    """Return the token's log-probability, and those of the `most` likeliest ones, as the model has them before sampling."""
    values = logits.astype(np.float64)
    values -= values.max()
    values -= np.log(np.exp(values).sum())
    likeliest = np.argsort(-values, kind="stable")[:most]
    return tuple((int(each), float(values[each])) for each in (token, *likeliest))
