"""Sizes as the doctor writes them. Pure."""

from __future__ import annotations


def size(amount: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, bits in (("TiB", 40), ("GiB", 30), ("MiB", 20)):
        if amount >= 1 << bits:
            return f"{amount / (1 << bits):.3g} {unit}"
    return f"{amount} bytes"
