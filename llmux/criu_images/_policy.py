"""The rules that say what a capture carries, and what a rebuild does with a file that is here and differs.

A rule is one line of words: a verb, then conditions that must all hold. Rules are asked in order; the first that fits decides, and
where none fits the default stands. docs/manifest.md has the language whole; in short::

    carry  origin=image path=/opt/** size<=16M
    leave  path=/var/cache/** digest=whole
    mask   change=grown path=/var/log/**
    keep   path=/etc/**

`_policy_parse.py` reads them.
"""

from __future__ import annotations

import enum
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from llmux.criu_images._paths import RawPath
from llmux.criu_images.manifest import Origin


class Verb(enum.Enum):
    """What a rule does; the first two are asked at a capture, the others before a restore."""

    CARRY = "carry"
    """Copy the content beside the images."""
    LEAVE = "leave"
    """Record size, mode, build-id and digest alone: the restore's container must bring the file."""
    KEEP = "keep"
    """Accept the file that is here, if CRIU does."""
    MASK = "mask"
    """Mount a copy of the recorded content over it, in the restored tree's own mount namespace."""
    CONFLICT = "conflict"
    """Refuse the restore."""


AT_CAPTURE = frozenset({Verb.CARRY, Verb.LEAVE})
AT_REBUILD = frozenset({Verb.KEEP, Verb.MASK, Verb.CONFLICT})


class Change(enum.Enum):
    """How a file that is here differs from the recorded one."""

    GROWN = "grown"
    """Its first bytes are the recorded content, and more follows."""
    OTHER = "other"
    """In any other way: shorter, of other content, mode or build."""


class Depth(enum.Enum):
    """How much of a file that is left is read for its digest."""

    NONE = "none"
    SAMPLED = "sampled"
    """At most 1 MiB, within the time that a capture gives to digests."""
    WHOLE = "whole"
    """All of it, however long that takes while the tree is frozen."""


SIGNS: Mapping[str, Callable[[int, int], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One file that a rule may fit."""

    names: tuple[RawPath, ...]
    origin: Origin
    size: int
    """In bytes."""
    written: bool
    change: Change | None = None
    """Before a restore: how the file here differs."""


@dataclass(frozen=True, slots=True)
class OriginIs:
    origin: Origin

    def holds(self, file: Candidate) -> bool:
        return file.origin is self.origin


@dataclass(frozen=True, slots=True)
class SizeIs:
    sign: str
    size: int

    def holds(self, file: Candidate) -> bool:
        return SIGNS[self.sign](file.size, self.size)


@dataclass(frozen=True, slots=True)
class PathIs:
    pattern: re.Pattern[bytes]

    def holds(self, file: Candidate) -> bool:
        return any(self.pattern.fullmatch(name) for name in file.names)


@dataclass(frozen=True, slots=True)
class WrittenIs:
    written: bool

    def holds(self, file: Candidate) -> bool:
        return file.written is self.written


@dataclass(frozen=True, slots=True)
class ChangeIs:
    change: Change

    def holds(self, file: Candidate) -> bool:
        return file.change is self.change


Condition: TypeAlias = OriginIs | SizeIs | PathIs | WrittenIs | ChangeIs


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a policy."""

    verb: Verb
    conditions: tuple[Condition, ...]
    text: str
    """The words that it was parsed from, one space between them."""
    digest: Depth = Depth.SAMPLED

    def fits(self, file: Candidate) -> bool:
        return all(condition.holds(file) for condition in self.conditions)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules in the order in which they are asked; without any the default stands."""

    rules: tuple[Rule, ...] = ()

    def at_capture(self, file: Candidate) -> Rule | None:
        """Return the rule that decides whether `file` is carried, or None."""
        return self._first(AT_CAPTURE, file)

    def at_rebuild(self, file: Candidate) -> Rule | None:
        """Return the rule that decides what happens to a file that is here and differs, or None."""
        return self._first(AT_REBUILD, file)

    def _first(self, verbs: frozenset[Verb], file: Candidate) -> Rule | None:
        return next((rule for rule in self.rules if rule.verb in verbs and rule.fits(file)), None)

    def __add__(self, later: Policy) -> Policy:
        return Policy(self.rules + later.rules)


DEFAULT = Policy()
"""Carries what a fresh container of the same image lacks; refuses what is here and differs."""
