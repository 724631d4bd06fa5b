"""Arithmetic of amounts. What a bounded quantity's name is not in has none of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from llmux.server.scheduling.snapshot import Amounts


def plus(one: Amounts, *others: Amounts) -> dict[str, int]:
    """Return the sum, name by name."""
    total = dict(one)
    for other in others:
        for name, amount in other.items():
            total[name] = total.get(name, 0) + amount
    return total


def minus(one: Amounts, other: Amounts) -> dict[str, int]:
    """Return the difference, name by name; it may be negative."""
    return {name: one.get(name, 0) - other.get(name, 0) for name in {**one, **other}}


def more(wanted: Amounts, had: Amounts) -> dict[str, int]:
    """Return what `wanted` has more of than `had`; what there is less of counts for nothing."""
    return {name: amount - had.get(name, 0) for name, amount in wanted.items() if amount > had.get(name, 0)}


def short(wanted: Amounts, room: Amounts) -> dict[str, int]:
    """Return what is lacking of `room`; what `room` does not name is not bounded, and what is not wanted not lacking."""
    return {name: n - room[name] for name, n in wanted.items() if n > 0 and name in room and n > room[name]}


def fits(wanted: Amounts, room: Amounts) -> bool:
    """Tell whether nothing is lacking."""
    return not short(wanted, room)


def left(capacity: Amounts, held: Iterable[Amounts]) -> dict[str, int]:
    """Return what of the capacity's own names remains; negative where more is held than there is."""
    total = plus({}, *held)
    return {name: amount - total.get(name, 0) for name, amount in capacity.items()}
