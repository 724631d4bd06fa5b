"""What NVIDIA's Xid numbers mean, as far as llmux goes by it: who is hurt by an error. Pure.

Source: NVIDIA's "XID Errors" (docs.nvidia.com/deploy/xid-errors): its catalogue says which need the program restarted, and which the GPU reset.
"""

from __future__ import annotations

from enum import StrEnum


class Hurt(StrEnum):
    """Who is hurt by an error."""

    PROCESS = "process"  # the one that has made it, which finds out itself
    ENGINES = "engines"  # everybody on the GPU; it can be used again by new processes
    GPU = "gpu"  # the GPU itself: nothing starts there until it is reset
    NOBODY = "nobody"


_KNOWN: dict[int, tuple[Hurt, str]] = {
    8: (Hurt.PROCESS, "the GPU stopped processing"),
    13: (Hurt.PROCESS, "graphics engine exception"),
    31: (Hurt.PROCESS, "GPU memory page fault"),
    32: (Hurt.PROCESS, "invalid or corrupted push buffer stream"),
    43: (Hurt.PROCESS, "the GPU stopped processing for a program"),
    45: (Hurt.PROCESS, "a program's channels were removed"),
    46: (Hurt.GPU, "the GPU stopped processing"),
    48: (Hurt.GPU, "double bit ECC error"),
    62: (Hurt.GPU, "internal micro-controller halt"),
    63: (Hurt.NOBODY, "a row of memory is to be remapped at the next reset"),
    64: (Hurt.GPU, "a row of memory could not be remapped"),
    68: (Hurt.PROCESS, "video processor exception"),
    69: (Hurt.PROCESS, "graphics engine class error"),
    79: (Hurt.GPU, "the GPU has fallen off the bus"),
    92: (Hurt.NOBODY, "many single bit ECC errors"),
    94: (Hurt.ENGINES, "contained ECC error"),
    95: (Hurt.GPU, "uncontained ECC error"),
    109: (Hurt.PROCESS, "context switch timeout"),
    119: (Hurt.GPU, "GSP timeout"),
    120: (Hurt.GPU, "GSP error"),
    140: (Hurt.GPU, "unrecovered ECC error"),
    143: (Hurt.GPU, "the GPU could not be initialised"),
    154: (Hurt.NOBODY, "what the GPU needs to recover has changed"),
}


def hurt(number: int) -> Hurt:
    """Return who is hurt; of an error that is not known here, the engines."""
    return _KNOWN.get(number, (Hurt.ENGINES, ""))[0]


def in_words(number: int) -> str:
    """Return the number with what it means, where that is known."""
    meaning = _KNOWN.get(number, (Hurt.ENGINES, ""))[1]
    return f"Xid {number} ({meaning})" if meaning else f"Xid {number}"
