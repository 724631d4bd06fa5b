"""Which model has to sleep so that another may serve: a pure function of a snapshot.

Every awake model holds a place. Without a limit there is always one. With a limit, the least recently used model that
can be put to sleep gives up its own; a model that is answering requests is chosen only where no idle one is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sleeper:
    """A model that holds a place, as the policy sees it."""

    name: str
    can_sleep: bool
    """It runs, so that a sleep may be asked for."""
    leaving: bool
    """It is on its way to sleep; its place will be free, or the sleep will fail."""
    in_flight: int
    last_used: float


@dataclass(frozen=True)
class Enter:
    """There is a place."""


@dataclass(frozen=True)
class PutAway:
    """Ask this model to sleep, then look again."""

    name: str


@dataclass(frozen=True)
class Wait:
    """A place may become free by itself; look again when something has changed."""


@dataclass(frozen=True)
class Full:
    """No place can be had: every model that holds one has refused to sleep."""

    holders: tuple[str, ...]


Decision = Enter | PutAway | Wait | Full


def make_room(holders: Sequence[Sleeper], max_awake: int | None, refused: frozenset[str]) -> Decision:
    """Decide for one model that wants to serve.

    `holders` are the others that hold a place; `refused` names those whose sleep failed while this one was waiting.
    """
    if max_awake is None or len(holders) < max_awake:
        return Enter()
    if any(holder.leaving for holder in holders):
        return Wait()
    candidates = [holder for holder in holders if holder.can_sleep and holder.name not in refused]
    if candidates:
        return PutAway(min(candidates, key=lambda h: (h.in_flight > 0, h.last_used, h.name)).name)
    if all(holder.name in refused for holder in holders):
        return Full(tuple(sorted(holder.name for holder in holders)))
    return Wait()
