"""How many of a thing, in words. Apart from `_words.py`, because a restore waits while this is imported, and that knows every record."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Write a number of things: `1 image`, `2 images`, `2 directories`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {plural or _plural(noun)}"


def _plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"


def stretch(start: int, length: int) -> str:
    """Write which bytes of a file are meant; a length of 0 goes to its end."""
    if not start and not length:
        return "the whole file"
    return f"from byte {start}, {counted(length, 'byte') if length else 'to the end'}"
