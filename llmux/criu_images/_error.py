"""The root of the library's errors, and how the commands end; `errors.py` has the errors themselves and gives on these two."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import ClassVar


class ExitCode(enum.IntEnum):
    """How the commands end."""

    FINE = 0
    WRONG_USE = 2
    """Wrong arguments, or something the command itself needs is not installed."""
    CONFLICTS = 3
    """The dump can't be restored here and now, or what was made for it can't be taken back whole."""
    DAMAGED = 4
    """The input is damaged, incomplete or not ours."""


@dataclass(eq=False)
class CriuImagesError(Exception):
    """Root of every error this library raises on purpose.

    `hint` says what to do next; `__str__` appends it to the message that the subclass builds in `what()`.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.DAMAGED
    hint: str = field(default="", kw_only=True)

    def what(self) -> str:
        """Say what happened, to which path, field or id, in one line without a final full stop."""
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{self.what()}. {self.hint}" if self.hint else self.what()
