"""How many tokens an answer took: what its `usage` says, else an estimate. Pure.

Sources: OpenAI's API reference (`usage` of chat completions, completions, embeddings and responses), Anthropic's (`usage`
of a message and of its `message_start` and `message_delta` events).
"""

from __future__ import annotations

import re

# In a JSON text, what looks like this is a field's name: inside a string its quotes would be escaped.
_FIELD = re.compile(rb'"(total|prompt|completion|input|output)_tokens"\s*:\s*(\d{1,12})(?![\d.])')
_LONGEST_FIELD = 64
_BYTES_A_TOKEN = 4
"""As it is about for English text with the tokenizers there are."""
_EVENT = b"data:"
_BLOCK = 8192
"""Bytes that are looked through together: a stream has hundreds of pieces, and each is to cost next to nothing."""


class UsageCount:
    """Reads an answer as it goes by; both a key's limits and the metrics are told by it."""

    def __init__(self) -> None:
        self._found: dict[bytes, int] = {}
        self._pieces: list[bytes] = []
        self._held = 0
        """Bytes in the pieces that have not been looked through."""
        self._rest = b""
        """The end of what has been: a field may go on in the next piece."""
        self._bytes = 0
        self._events = 0

    def read(self, chunk: bytes) -> None:
        """Take the next piece of the answer's body."""
        self._pieces.append(chunk)
        self._held += len(chunk)
        if self._held >= _BLOCK:
            self._look()

    def _look(self) -> None:
        if not self._pieces:
            return
        block = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        self._bytes += len(block)
        text = self._rest + block
        self._events += text.count(_EVENT) - self._rest.count(_EVENT)
        if b"_tokens" in text:
            self._found.update({name: int(count) for name, count in _FIELD.findall(text)})
        self._rest = text[-_LONGEST_FIELD:]

    def told(self) -> tuple[int, int] | None:
        """Return the tokens read and written, as far as the answer says them; None where it says neither."""
        self._look()
        read, written = self._read(), self._written()
        return None if read is None and written is None else (read or 0, written or 0)

    def tokens(self, asked: int) -> int:
        """Return how many were read and written, estimated where the answer does not say; `asked` is the request's size in bytes.

        Of an answer of which nothing has come, none.
        """
        self._look()
        if not self._bytes:
            return 0
        if b"total" in self._found:
            return self._found[b"total"]
        read, written = self._read(), self._written()
        return (_estimate(asked) if read is None else read) + (
            (self._events or _estimate(self._bytes))  # a stream has about an event for each token
            if written is None
            else written
        )

    def said(self) -> int:
        """Return what was said of tokens, and nothing where nothing was."""
        self._look()
        return self._found.get(b"total", (self._read() or 0) + (self._written() or 0))

    def _read(self) -> int | None:
        return self._found.get(b"prompt", self._found.get(b"input"))

    def _written(self) -> int | None:
        return self._found.get(b"completion", self._found.get(b"output"))


def _estimate(size: int) -> int:
    return -(-size // _BYTES_A_TOKEN)
