"""How long the requests of a draining replica are waited for, and what becomes of it once that time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from llmux.server._model import DrainTimedOut, Event
from llmux.server._record import Model, Replica
from llmux.server._rules import AfterDrain
from llmux.server.errors import Problem

_HINT = "Ask again later, or raise the time that a drain may take"


class Drains:
    """Every replica's timer."""

    def __init__(
        self,
        models: Mapping[str, Model],
        feed: Callable[[Replica, Event], None],
        stopping: Callable[[], bool],
    ) -> None:
        """`feed` tells a replica's machine that the time is over; `stopping` says whether llmux ends."""
        self._models = models
        self._feed = feed
        self._stopping = stopping

    def begin(self, replica: Replica) -> None:
        """Have the time run, where the model's rules bound it."""
        drain = self._models[replica.model].rules.drain
        if drain.then is not AfterDrain.WAIT:
            loop = asyncio.get_running_loop()
            replica.drain_timer = loop.call_later(drain.seconds, self.time_is_over, replica)

    def stop(self, replica: Replica) -> None:
        """Have it run no more."""
        if replica.drain_timer:
            replica.drain_timer.cancel()
            replica.drain_timer = None

    def time_is_over(self, replica: Replica) -> None:
        """Tell the machine: the sleep is given up, or whoever is still being answered is cut off."""
        replica.drain_timer = None
        drain = self._models[replica.model].rules.drain
        message = f"{len(replica.flights)} requests were still being answered after {drain.seconds:g} s"
        problem = Problem("drain_timeout", message, _HINT)
        # Where llmux ends, or another engine is to come, this one does not serve on.
        give_up = drain.then is AfterDrain.GIVE_UP and not self._stopping() and not replica.becomes
        self._feed(replica, DrainTimedOut(problem, give_up=give_up))
