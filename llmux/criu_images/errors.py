"""The library's errors: one root, each with the fields that say what happened, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "CriuImagesError",
]


@dataclass(eq=False)
class CriuImagesError(Exception):
    """Root of every error this library raises on purpose.

    `hint` says what to do next; `__str__` appends it to the message that the subclass builds in `what()`.
    """

    hint: str = field(default="", kw_only=True)

    def what(self) -> str:
        """Say what happened, to which path, field or id, in one line without a final full stop."""
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{self.what()}. {self.hint}" if self.hint else self.what()
