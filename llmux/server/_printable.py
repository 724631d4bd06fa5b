"""Text of somebody else's, made fit for a line on a terminal. Pure."""

from __future__ import annotations

import re

# Unicode's control characters, and its line and paragraph separators.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def printable(text: str, keep: str = "") -> str:
    """Return `text` with its control characters but those in `keep` as Python writes them: none ends a line or moves a cursor."""
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)
