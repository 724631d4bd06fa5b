"""Byte-pair encoding: 256 bytes, three special tokens, then pairs merged in the order of their frequency in the text."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

from llmux.tiny_engine.errors import ModelDamagedError

USER: Final = 256
ASSISTANT: Final = 257
END: Final = 258
_FIRST_MERGE: Final = 259
_KIND: Final = "llmux-tiny-bpe"
_WORD = re.compile(r" ?\w+| ?[^\s\w]+|\s")

Pair = tuple[int, int]


class Tokenizer:
    """Text to token ids and back; `merges[i]` is the pair that token `259 + i` stands for."""

    def __init__(self, merges: Sequence[Pair]) -> None:
        self.merges = tuple(merges)
        self._rank = {pair: _FIRST_MERGE + index for index, pair in enumerate(self.merges)}
        self._bytes = [bytes([value]) for value in range(256)] + [b"", b"", b""]
        for left, right in self.merges:
            self._bytes.append(self._bytes[left] + self._bytes[right])
        self._encode_word = lru_cache(maxsize=4096)(self._merge_word)

    @property
    def size(self) -> int:
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        return [token for word in _WORD.findall(text) for token in self._encode_word(word)]

    def encode_chat(self, turns: Iterable[tuple[str, str]]) -> list[int]:
        """Lay out (role, content) turns as the training did, ending where the assistant's answer begins."""
        tokens: list[int] = []
        for role, content in turns:
            tokens += [ASSISTANT if role == "assistant" else USER, *self.encode(content)]
        return [*tokens, ASSISTANT]

    def token_bytes(self, token: int) -> bytes:
        """Give a token's bytes; a multi-byte character may be spread over several tokens. Special tokens are empty."""
        return self._bytes[token]

    def _merge_word(self, word: str) -> tuple[int, ...]:
        tokens = list(word.encode("utf-8", errors="replace"))
        while ranked := [self._rank[pair] for pair in pairwise(tokens) if pair in self._rank]:
            lowest = min(ranked)
            tokens = _merged(tokens, self.merges[lowest - _FIRST_MERGE], lowest)
        return tuple(tokens)

    def to_json(self) -> str:
        return json.dumps({"type": _KIND, "version": 1, "merges": self.merges})


def train_tokenizer(text: str, merges: int) -> Tokenizer:
    """Learn up to `merges` pairs; ties go to the smaller pair, so the result depends on the text alone."""
    words = Counter(tuple(word.encode()) for word in _WORD.findall(text))
    learnt: list[Pair] = []
    for token in range(_FIRST_MERGE, _FIRST_MERGE + merges):
        counts: Counter[Pair] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                counts[pair] += count
        best = max(counts, key=lambda pair: (counts[pair], -pair[0], -pair[1]), default=None)
        if best is None or counts[best] < 2:
            break
        learnt.append(best)
        words = Counter({tuple(_merged(word, best, token)): count for word, count in words.items()})
    return Tokenizer(learnt)


def load_tokenizer(path: Path) -> Tokenizer:
    """Read tokenizer.json; raises ModelDamagedError."""
    try:
        document = json.loads(path.read_bytes())
        if document["type"] != _KIND or document["version"] != 1:
            raise ModelDamagedError(path, f"is not a {_KIND} tokenizer of version 1")
        merges = [(int(left), int(right)) for left, right in document["merges"]]
    except OSError as error:
        raise ModelDamagedError(path, f"cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ModelDamagedError(path, f"is not a tokenizer: {error!r}") from error
    for index, pair in enumerate(merges):
        if not all(0 <= part < _FIRST_MERGE + index for part in pair):
            raise ModelDamagedError(path, f"merges[{index}] = {pair} names a token that does not exist yet")
    return Tokenizer(merges)


def _merged(tokens: Sequence[int], pair: Pair, token: int) -> list[int]:
    result: list[int] = []
    index = 0
    while index < len(tokens):
        if index + 1 < len(tokens) and (tokens[index], tokens[index + 1]) == pair:
            result.append(token)
            index += 2
        else:
            result.append(tokens[index])
            index += 1
    return result
