"""The event loop that llmux serves on: uvloop's, which takes less of the processor for each request than asyncio's own.

Its timers count in whole milliseconds, and may be called up to one and a half too early. What waits here for a time looks at the
clock when it is called, and would find that nothing is due yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple

import uvloop

_EARLY = 0.0015
"""Seconds."""

_Args = TypeVarTuple("_Args")


class Loop(uvloop.Loop):
    """A loop whose timers are never early."""

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Args], object],
        *args: *_Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back after so many seconds; `call_at` comes this way too."""
        late = delay + _EARLY if delay > 0 else delay
        return super().call_later(late, callback, *args, context=context)
