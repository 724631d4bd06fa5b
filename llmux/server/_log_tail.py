"""The end of an engine's log, for errors: few bytes are read however long the log has grown."""

from __future__ import annotations

import os
from pathlib import Path

_BYTES = 4096


def last_lines(path: Path, since: int = 0, count: int = 4) -> str:
    """Return the last `count` lines written after offset `since`, joined by " | "; empty where there are none."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(since if since <= end else 0, end - _BYTES))
            text = file.read(_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:])


def size_of(path: Path) -> int:
    """Return how long the log is now; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
