"""The form of a row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Demand:
    """One thing that a restore asks for, or that a dump refuses."""

    id: str
    kind: str
    asks: str
    """What CRIU asks for or refuses, in its own words where it has some."""
    source: str
    """The function or file of CRIU's that asks; empty where the kernel or a user of CRIU does."""
    recorded: str = ""
    rebuilt: str = ""
    """Empty where CRIU brings it back from its images alone, or where nobody may make it."""
    checked: str = ""
    refused: str = ""
    """What is refused or reported, and what to do about it."""


@dataclass(frozen=True)
class Section:
    """Rows that belong together."""

    title: str
    rows: tuple[Demand, ...]
