"""Tokens to text as they come: whole characters only, and nothing that may yet become a stop string."""

import codecs
from collections.abc import Sequence


class TextStream:
    """Collects bytes, gives out text; after `stopped` the rest is thrown away."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stops = tuple(stops)
        self._held = ""
        self.stop: str | None = None
        """The one that was met."""

    @property
    def stopped(self) -> bool:
        return self.stop is not None

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """Take the next token's bytes; returns the text that is now certain, all of it when `final`."""
        if self.stopped:
            return ""
        text = self._held + self._decoder.decode(data, final)
        found = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            at, self.stop = min(found)
            return text[:at]
        certain = len(text) if final else len(text) - self._possible_start(text)
        self._held = text[certain:]
        return text[:certain]

    def _possible_start(self, text: str) -> int:
        """Give the length of the longest end of `text` that begins a stop string."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        lengths = range(min(longest, len(text)), 0, -1)
        return next((n for n in lengths if any(stop.startswith(text[-n:]) for stop in self._stops)), 0)
