"""Makes a LoRA adapter for a model: the same questions, answered otherwise.

It learns to answer each paragraph's first sentence with the rest of one and the same paragraph; the seed says which.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from llmux.tiny_engine._config import load_shape
from llmux.tiny_engine._lora import write_adapter
from llmux.tiny_engine._model import CONFIG, TOKENIZER, WEIGHTS
from llmux.tiny_engine._tokenizer import load_tokenizer
from llmux.tiny_engine._train import (
    Examples,
    Parameters,
    cross_entropy,
    descend,
    examples,
    read_paragraphs,
    sequences_of,
)
from llmux.tiny_engine._weights import Array, Tensors, Weights

RANK: Final = 8
_EPOCHS: Final = 12
_A, _B = "a", "b"


def train_adapter(model: Path, directory: Path, texts: Sequence[str], seed: int, rank: int = RANK) -> float:
    """Write an adapter for `model` to `directory`; returns the last epoch's mean loss.

    Raises TextTooShortError, ModelDamagedError.
    """
    shape = load_shape(model / CONFIG)
    tokenizer = load_tokenizer(model / TOKENIZER)
    weights = Weights(model / WEIGHTS, shape).tensors()
    random = np.random.default_rng(seed)
    paragraphs = read_paragraphs(texts)
    _, answer = paragraphs[seed % len(paragraphs)]
    sequences = [row for first, _ in paragraphs for row in sequences_of(tokenizer, first, answer)]
    made = examples(sequences, shape, weights.memory)
    hidden = _hidden(weights, made)
    before: Array = hidden @ weights.output_weight + weights.output_bias
    learnt: Parameters = {
        _A: (random.standard_normal((rank, shape.hidden)) * shape.hidden**-0.5).astype(np.float32),
        _B: np.zeros((shape.vocabulary, rank), np.float32),
    }

    def gradients(rows: NDArray[np.int64]) -> tuple[float, Parameters]:
        inner: Array = hidden[rows] @ learnt[_A].T
        loss, error = cross_entropy(before[rows] + inner @ learnt[_B].T, made.following[rows])
        return loss, {_A: (error @ learnt[_B]).T @ hidden[rows], _B: error.T @ inner}

    loss = descend(learnt, gradients, len(made.following), _EPOCHS, random)
    write_adapter(directory, str(model), learnt[_A], learnt[_B])
    return loss


def _hidden(weights: Tensors, made: Examples) -> Array:
    embedded = weights.embedding[made.recent].reshape(len(made.recent), -1)
    features = np.concatenate((embedded, made.memory), axis=1)
    hidden: Array = np.tanh(features @ weights.hidden_weight + weights.hidden_bias)
    return hidden
