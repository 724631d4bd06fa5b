"""A thread that hears of critical errors as the driver tells them, and sees which GPUs are lost.

watch = Watch(indexes, tell)      `tell` is called in that thread
watch.start()
watch.stop(seconds)               blocks until it has ended; False where it hangs: it is a daemon, and nobody waits for it
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from llmux.server._nvml import opened
from llmux.server.gpus import _devices
from llmux.server.gpus._devices import Events, Xid

log = logging.getLogger(__name__)

_TURN = 0.5
"""Seconds of one wait: so long an end may take."""
LOOK_EVERY = 5.0
"""Seconds between two looks whether all GPUs answer: not every driver tells of one that is gone."""


@dataclass(frozen=True)
class Gone:
    """A GPU does not answer any more."""

    gpu: int
    why: str
    """In NVML's words."""


@dataclass(frozen=True)
class Back:
    """A GPU that was gone answers again."""

    gpu: int


Happened = Xid | Gone | Back


class Watch:
    """Watches some GPUs."""

    def __init__(
        self, indexes: Collection[int], tell: Callable[[Happened], None], gone: Collection[int] = ()
    ) -> None:
        """`gone` are those of which it is known already."""
        self._indexes = tuple(sorted(indexes))
        self._tell = tell
        self._gone = set(gone)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nvml-watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """End; say whether it has ended within this time."""
        self._ended.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with opened() as missing:
            if missing:
                log.warning("GPUs are not watched: %s", missing)
                return
            events = Events(self._indexes)
            log.info(
                "%d GPUs are watched%s", len(self._indexes), "" if events else ", which tell of no errors"
            )
            try:
                self._watch(events)
            finally:
                events.close()

    def _watch(self, events: Events) -> None:
        look_at = time.monotonic()
        while not self._ended.is_set():
            if self._heard(events) or time.monotonic() >= look_at:
                self._look(events)
                look_at = time.monotonic() + LOOK_EVERY

    def _heard(self, events: Events) -> bool:
        """Wait for one turn, and tell of an error."""
        if not events:
            self._ended.wait(_TURN)
            return False
        try:
            error = events.wait(_TURN)
        except OSError:  # a GPU that is lost ends the wait; the look says which
            self._look(events)
            self._ended.wait(_TURN)
            return False
        if error:
            self._tell(error)
        return error is not None

    def _look(self, events: Events) -> None:
        for index in self._indexes:
            why = _devices.gone(index)
            if why and index not in self._gone:
                self._gone.add(index)
                self._heard(events)  # the error that has ended it is told a little later, and says more
                self._tell(Gone(index, why))
            elif not why and index in self._gone:
                self._gone.discard(index)
                self._tell(Back(index))
