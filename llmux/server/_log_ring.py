"""llmux's own latest log lines, for whoever asks for them. Any thread may log.

ring = LogRing(); logging.getLogger().addHandler(ring)
ring.last(100), ring.since(ring.count)
"""

from __future__ import annotations

import logging
import re
from collections import deque

KEPT = 5000
"""Lines."""
_LONGEST = 8192
"""Characters of a line."""


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""What a terminal is told of colours (ECMA-48, SGR)."""


class LogRing(logging.Handler):
    """Keeps the latest lines, as the handler that was there before writes them."""

    def __init__(self, like: logging.Formatter | None = None) -> None:
        super().__init__()
        self.setFormatter(like or logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        self._lines: deque[str] = deque(maxlen=KEPT)
        self.count = 0
        """How many lines there have been."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line more; `handle` has taken the lock."""
        try:
            line = self.format(record)
            line = (_COLOUR.sub("", line) if "\x1b" in line else line)[:_LONGEST]
        except Exception:  # noqa: BLE001 - logging's own way: a record that cannot be written stops nobody
            self.handleError(record)
            return
        self._lines.append(line)
        self.count += 1

    def last(self, lines: int) -> tuple[str, ...]:
        """Return so many lines from the end."""
        kept, _ = self._now()
        return kept[len(kept) - min(lines, len(kept)) :]

    def since(self, count: int) -> tuple[tuple[str, ...], int]:
        """Return the lines after so many, as far as they are kept, and how many there have been now."""
        kept, now = self._now()
        return kept[len(kept) - min(now - count, len(kept)) :], now

    def _now(self) -> tuple[tuple[str, ...], int]:
        self.acquire()
        try:
            return tuple(self._lines), self.count
        finally:
            self.release()
