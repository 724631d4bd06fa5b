"""Makes a model from text: a tokenizer, then the network by gradient descent (Adam) in numpy.

Each paragraph is learnt as its first sentence asked and the rest answered, and as plain text. The seed draws the
initial weights and which part of the paragraphs is learnt, so models of different seeds answer differently.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from llmux.tiny_engine._compile import MEMORY_DECAY
from llmux.tiny_engine._config import Shape
from llmux.tiny_engine._model import CONFIG, TOKENIZER, WEIGHTS
from llmux.tiny_engine._tokenizer import ASSISTANT, END, USER, Tokenizer, train_tokenizer
from llmux.tiny_engine._weights import Array, write_tensors
from llmux.tiny_engine.errors import TextTooShortError

CORPUS: Final = Path(__file__).with_name("corpus.txt")
EPOCHS: Final = 14
_MERGES: Final = 320
_BATCH: Final = 64
_RATE: Final = 0.003
# Of the paragraphs, the part that one seed learns.
_PART: Final = 0.75
# Not learnt: the memory is a random projection of the tokens, fading by MEMORY_DECAY.
_FIXED: Final = "memory"

Parameters = dict[str, Array]
Gradients = Callable[[NDArray[np.int64]], tuple[float, Parameters]]
"""Of some rows, the loss and the gradient of each parameter."""


@dataclass(frozen=True)
class Examples:
    """Row by row: the last tokens, the memory, and the token that follows."""

    recent: NDArray[np.int64]
    memory: Array
    following: NDArray[np.int64]


def train(directory: Path, texts: Sequence[str], seed: int, epochs: int = EPOCHS) -> float:
    """Write a model to `directory`; returns the last epoch's mean loss (nats per token). Raises TextTooShortError."""
    paragraphs = read_paragraphs(texts)
    random = np.random.default_rng(seed)
    tokenizer = train_tokenizer("\n\n".join(f"{first} {rest}" for first, rest in paragraphs), _MERGES)
    shape = Shape(vocabulary=tokenizer.size)
    parameters = _initial(shape, random)
    learnt = random.choice(len(paragraphs), size=max(2, round(_PART * len(paragraphs))), replace=False)
    sequences = [row for index in learnt for row in sequences_of(tokenizer, *paragraphs[index])]
    made = examples(sequences, shape, parameters[_FIXED])
    moving = {name: array for name, array in parameters.items() if name != _FIXED}
    loss = descend(
        moving, lambda rows: _gradients(parameters, made, rows), len(made.following), epochs, random
    )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CONFIG).write_text(shape.to_json())
    (directory / TOKENIZER).write_text(tokenizer.to_json())
    write_tensors(directory / WEIGHTS, parameters)
    return loss


def read_paragraphs(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return each paragraph's first sentence and its rest. Raises TextTooShortError."""
    paragraphs = [found for text in texts for found in _paragraphs(text)]
    if len(paragraphs) < 2:
        raise TextTooShortError(len(paragraphs))
    return paragraphs


def _paragraphs(text: str) -> Iterator[tuple[str, str]]:
    """Split text into paragraphs, and each into its first sentence and the rest."""
    for paragraph in re.split(r"\n\s*\n", text):
        first, _, rest = re.sub(r"(?<=[.?!])\s+", "\n", " ".join(paragraph.split()), count=1).partition("\n")
        if rest:
            yield first, rest


def sequences_of(tokenizer: Tokenizer, first: str, rest: str) -> Iterator[list[int]]:
    yield [USER, *tokenizer.encode(first), ASSISTANT, *tokenizer.encode(rest), END]
    yield [*tokenizer.encode(f"{first} {rest}"), END]


def _initial(shape: Shape, random: np.random.Generator) -> Parameters:
    def normal(name: str, scale: float) -> Array:
        return (random.standard_normal(shape.tensors()[name]) * scale).astype(np.float32)

    return {
        "embedding": normal("embedding", 0.5),
        "memory": normal("memory", (1 - MEMORY_DECAY**2) ** 0.5),
        "hidden_weight": normal("hidden_weight", shape.features**-0.5),
        "hidden_bias": normal("hidden_bias", 0),
        "output_weight": normal("output_weight", shape.hidden**-0.5),
        "output_bias": normal("output_bias", 0),
    }


def examples(sequences: Sequence[Sequence[int]], shape: Shape, table: Array) -> Examples:
    recent, memories, following = [], [], []
    for sequence in sequences:
        padded = [END] * shape.context + list(sequence)
        memory = np.zeros(shape.memory, np.float32)
        for index, token in enumerate(sequence):
            recent.append(padded[index : index + shape.context])
            memories.append(memory)
            following.append(token)
            memory = (memory * np.float32(MEMORY_DECAY) + table[token]).astype(np.float32)
    return Examples(np.array(recent), np.array(memories, np.float32), np.array(following))


def descend(
    parameters: Parameters, gradients_of: Gradients, count: int, epochs: int, random: np.random.Generator
) -> float:
    """Minimise the mean cross-entropy of `count` rows in place by Adam with the usual constants, the rate falling to zero.

    Returns the last epoch's mean loss.
    """
    first = {name: np.zeros_like(array) for name, array in parameters.items()}
    second = {name: np.zeros_like(array) for name, array in parameters.items()}
    steps = epochs * -(-count // _BATCH)
    done = 0
    losses: list[float] = []
    for _ in range(epochs):
        losses = []
        order = random.permutation(count)
        for start in range(0, count, _BATCH):
            loss, gradients = gradients_of(order[start : start + _BATCH])
            losses.append(loss)
            done += 1
            rate = _RATE * (1 - (done - 1) / steps) * (1 - 0.999**done) ** 0.5 / (1 - 0.9**done)
            for name in parameters:
                first[name] += 0.1 * (gradients[name] - first[name])
                second[name] += 0.001 * (gradients[name] ** 2 - second[name])
                parameters[name] -= (rate * first[name] / (np.sqrt(second[name]) + 1e-8)).astype(np.float32)
    return float(np.mean(losses))


def _gradients(
    parameters: Parameters, examples: Examples, rows: NDArray[np.int64]
) -> tuple[float, Parameters]:
    recent, following = examples.recent[rows], examples.following[rows]
    embedded = parameters["embedding"][recent].reshape(len(rows), -1)
    features = np.concatenate((embedded, examples.memory[rows]), axis=1)
    hidden = np.tanh(features @ parameters["hidden_weight"] + parameters["hidden_bias"])
    logits = hidden @ parameters["output_weight"] + parameters["output_bias"]
    loss, error = cross_entropy(logits, following)
    before = (error @ parameters["output_weight"].T) * (1 - hidden**2)
    to_embedding = np.zeros_like(parameters["embedding"])
    width = embedded.shape[1]
    spread = (before @ parameters["hidden_weight"][:width].T).reshape(*recent.shape, -1)
    np.add.at(to_embedding, recent, spread)
    return loss, {
        "embedding": to_embedding,
        "hidden_weight": features.T @ before,
        "hidden_bias": before.sum(axis=0),
        "output_weight": hidden.T @ error,
        "output_bias": error.sum(axis=0),
    }


def cross_entropy(logits: Array, following: NDArray[np.int64]) -> tuple[float, Array]:
    """Return the mean loss of rows, and its gradient by their logits."""
    error = np.exp(logits - logits.max(axis=1, keepdims=True))
    error /= error.sum(axis=1, keepdims=True)
    at = np.arange(len(following))
    loss = float(-np.log(error[at, following] + 1e-9).mean())
    error[at, following] -= 1
    return loss, error / np.float32(len(following))
