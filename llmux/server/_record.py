"""What llmux knows of one model at run time."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from llmux.server._hands import Hands, Life, Stored
from llmux.server._model import State, Wake
from llmux.server.errors import Problem


@dataclass(eq=False)
class Ticket:
    """One request's way to an engine: `admitted` comes true when `life` is set, or tells why it never will."""

    admitted: asyncio.Future[Life]
    life: Life | None = None


@dataclass(eq=False)
class Model:
    """One model. The driver and its operations write it, everybody else reads."""

    name: str
    hands: Hands
    state: State
    life: Life | None = None
    stored: Stored | None = None
    checkpoint_problem: Problem | None = None
    """Why what lies where its checkpoint should be is none."""
    last_wake: Wake | None = None
    last_used: float = 0.0
    has_place: bool = False
    """It counts among the models that may be awake together."""
    held: deque[Ticket] = field(default_factory=deque)
    sleepers: list[asyncio.Future[Problem | None]] = field(default_factory=list)
    """Those who wait for the end of a sleep: its problem, or None."""
    operation: asyncio.Task[None] | None = None
    drain_timer: asyncio.TimerHandle | None = None
