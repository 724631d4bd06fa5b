"""How many tokens an answer took: what its `usage` says, else an estimate. Pure.

Sources: OpenAI's API reference (`usage` of chat completions, completions, embeddings and responses), Anthropic's (`usage`
of a message and of its `message_start` and `message_delta` events).
"""

from __future__ import annotations

import re

# In a JSON text, what looks like this is a field's name: inside a string its quotes would be escaped.
_FIELD = re.compile(rb'"(total|prompt|completion|input|output)_tokens"\s*:\s*(\d{1,12})')
_LONGEST_FIELD = 64
_BYTES_A_TOKEN = 4
"""As it is about for English text with the tokenizers there are."""
_EVENT = b"data:"


class UsageCount:
    """Reads an answer as it goes by."""

    def __init__(self) -> None:
        self._found: dict[bytes, int] = {}
        self._rest = b""
        self._bytes = 0
        self._events = 0

    def read(self, chunk: bytes) -> None:
        """Take the next piece of the answer's body."""
        self._bytes += len(chunk)
        self._events += chunk.count(_EVENT)
        text = self._rest + chunk
        if b"_tokens" in text:
            self._found.update({name: int(count) for name, count in _FIELD.findall(text)})
        self._rest = text[-_LONGEST_FIELD:]

    def tokens(self, asked: int) -> int:
        """Return how many tokens were read and written; `asked` is the size of the request in bytes."""
        if b"total" in self._found:
            return self._found[b"total"]
        read, written = self._sides()
        return (_estimate(asked) if read is None else read) + (
            self._written() if written is None else written
        )

    def said(self) -> int:
        """Return what was said of tokens, and nothing where nothing was."""
        read, written = self._sides()
        return self._found.get(b"total", (read or 0) + (written or 0))

    def _sides(self) -> tuple[int | None, int | None]:
        found = self._found
        return found.get(b"prompt", found.get(b"input")), found.get(b"completion", found.get(b"output"))

    def _written(self) -> int:
        """Estimate what was written: a stream has about an event for each token."""
        return self._events or _estimate(self._bytes)


def _estimate(size: int) -> int:
    return -(-size // _BYTES_A_TOKEN)
