"""The one place of the proof that starts programs: always with a time limit, always with their words in the error."""

from __future__ import annotations

import shlex
import subprocess  # noqa: TID251 - the proof's own wrapper; it can't use the product's, which it judges
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finished:
    """How a program ended and what it said."""

    code: int
    output: str
    errors: str


class CommandError(Exception):
    """A program ended with another code than 0, or not in time (`code` is None)."""

    def __init__(self, argv: Sequence[str], code: int | None, words: str) -> None:
        super().__init__(argv, code, words)
        self.argv, self.code, self.words = argv, code, words

    def __str__(self) -> str:
        ending = "didn't end in time" if self.code is None else f"ended with code {self.code}"
        return f"`{shlex.join(self.argv)}` {ending}: {self.words.strip() or '(it said nothing)'}"


def attempt(argv: Sequence[str], *, timeout: float = 60, given: str | None = None) -> Finished:
    """Run a program and return how it ended. Raises CommandError if it does not end within `timeout` seconds."""
    try:
        done = subprocess.run(argv, input=given, capture_output=True, timeout=timeout, check=False, text=True)
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"") + (error.stderr or b"")
        raise CommandError(argv, None, said.decode(errors="replace")) from error
    return Finished(done.returncode, done.stdout, done.stderr)


def run(argv: Sequence[str], *, timeout: float = 60, given: str | None = None) -> str:
    """Run a program that must succeed and return its standard output. Raises CommandError."""
    done = attempt(argv, timeout=timeout, given=given)
    if done.code != 0:
        raise CommandError(argv, done.code, done.errors or done.output)
    return done.output
