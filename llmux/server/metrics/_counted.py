"""What has happened, counted: takes the bus's entries into counters and histograms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import product
from typing import assert_never

from prometheus_client import Metric

from llmux.server._happenings import (
    CheckpointMade,
    CheckpointRemoved,
    CheckpointReused,
    ConfigurationReloaded,
    Decided,
    EngineLost,
    EngineRestarted,
    Entry,
    Outcome,
    RequestAdmitted,
    RequestFinished,
    RequestQueued,
    SleepDone,
    SleepFailed,
    StateChanged,
    WakeDone,
    WakeFailed,
)
from llmux.server._model import WakeKind
from llmux.server.metrics import _catalogue as of
from llmux.server.metrics._catalogue import Family
from llmux.server.metrics._paths import group_of
from llmux.server.metrics._tallies import Tallies

_CHECKPOINT_EVENTS: dict[type[CheckpointMade | CheckpointReused | CheckpointRemoved], str] = {
    CheckpointMade: "made",
    CheckpointReused: "reused",
    CheckpointRemoved: "removed",
}
_CODE = re.compile(r"[a-z0-9_]{1,64}")


class Counted:
    """Counters and histograms of one llmux; `take` subscribes to its bus."""

    def __init__(self) -> None:
        self._tallies = Tallies(of.FAMILIES)
        self._models: set[str] = set()
        self._served_last = ""
        self.reloaded: ConfigurationReloaded | None = None
        self.reloaded_at: float | None = None
        """When the last reload was that was not refused, since the epoch."""
        for result in ("done", "failed"):
            self._count(of.RELOADS, result, by=0)

    def know(self, models: Iterable[str]) -> None:
        """Begin with the counters of these models at 0, so that a first failure is an increase; forget all other models."""
        wanted = set(models)
        for name in wanted - self._models:
            self._begin(name)
        for name in self._models - wanted:
            self._tallies.forget("model", name)
        self._models = wanted

    def _begin(self, model: str) -> None:
        for family in (of.LOSSES, of.RESTARTS, of.SWITCHES):
            self._count(family, model, by=0)
        for kind, result in product(WakeKind, ("done", "failed")):
            self._count(of.WAKES, model, kind.value, result, by=0)
        for outcome in Outcome:
            self._count(of.OUTCOMES, model, outcome.value, by=0)

    def collect(self) -> Iterator[Metric]:
        """Yield all of them."""
        return self._tallies.collect()

    def take(self, entry: Entry) -> None:
        """Count one entry."""
        match entry.happening:
            case RequestFinished() as request:
                self._finished(request)
            case RequestQueued() | RequestAdmitted():
                pass  # how many wait and are answered now is looked at, not counted
            case StateChanged() as change:
                self._changed(change)
            case SleepDone() | SleepFailed() as sleep:
                self._slept(sleep)
            case WakeDone() | WakeFailed() as wake:
                self._woke(wake)
            case EngineLost() | EngineRestarted() as mishap:
                self._mishap(mishap)
            case CheckpointMade() | CheckpointReused() | CheckpointRemoved() as checkpoint:
                self._count(of.CHECKPOINTS, checkpoint.model, _CHECKPOINT_EVENTS[type(checkpoint)])
            case Decided(model=model, who=who, what=what):
                self._count(of.DECISIONS, model, who, what)
            case ConfigurationReloaded() as reload:
                self._reloaded(reload, entry.at)
            case _:
                assert_never(entry.happening)

    def _finished(self, request: RequestFinished) -> None:
        model, wake = request.model, request.wake or "none"
        self._count(of.REQUESTS, model, group_of(request.path), str(request.status), wake)
        self._count(of.OUTCOMES, model, str(request.outcome))
        self._observe(of.WAIT, request.queued, model, wake)
        self._observe(of.DURATION, request.seconds, model)
        if request.first_byte is not None:
            self._observe(of.FIRST_BYTE, request.first_byte, model, wake)
        if request.tokens:
            self._count(of.TOKENS, model, "prompt", by=request.tokens.prompt)
            self._count(of.TOKENS, model, "completion", by=request.tokens.completion)
        if request.code:
            self._failed(model, "request", request.code)

    def _changed(self, change: StateChanged) -> None:
        self._count(of.CHANGES, change.model, change.before, change.after)
        if (change.before, change.after) == ("draining", "going_to_sleep"):
            self._observe(of.SLEEP_PHASE, change.seconds, change.model, "drain")

    def _slept(self, sleep: SleepDone | SleepFailed) -> None:
        depth = (sleep.model, sleep.eviction.weights.value, sleep.eviction.process.value)
        if isinstance(sleep, SleepFailed):
            self._count(of.SLEEPS, *depth, "failed")
            self._failed(sleep.model, "sleep", sleep.problem.code)
            return
        self._count(of.SLEEPS, *depth, "reused" if sleep.reused else "done")
        self._observe(of.SLEEP, sleep.seconds, sleep.model, sleep.eviction.process.value)
        for phase, seconds in sleep.phases.items():
            self._observe(of.SLEEP_PHASE, seconds, sleep.model, phase)

    def _woke(self, wake: WakeDone | WakeFailed) -> None:
        if isinstance(wake, WakeFailed):
            self._count(of.WAKES, wake.model, wake.wake.value, "failed")
            what = "start" if wake.wake is WakeKind.COLD_START else "wake"
            self._failed(wake.model, what, wake.problem.code)
            return
        self._count(of.WAKES, wake.model, wake.wake.value, "done")
        self._observe(of.WAKE, wake.seconds, wake.model, wake.wake.value)
        for phase, seconds in wake.phases.items():
            self._observe(of.WAKE_PHASE, seconds, wake.model, phase)
        if self._served_last not in {"", wake.model}:
            self._count(of.SWITCHES, wake.model)
        self._served_last = wake.model

    def _mishap(self, mishap: EngineLost | EngineRestarted) -> None:
        if isinstance(mishap, EngineRestarted):
            self._count(of.RESTARTS, mishap.model)
            return
        self._count(of.LOSSES, mishap.model)
        self._failed(mishap.model, "engine", mishap.problem.code)

    def _reloaded(self, reload: ConfigurationReloaded, at: float) -> None:
        self.reloaded = reload
        self._count(of.RELOADS, "failed" if reload.problem else "done")
        if not reload.problem:
            self.reloaded_at = at

    def _failed(self, model: str, what: str, code: str) -> None:
        self._count(of.FAILURES, model, what, code if _CODE.fullmatch(code) else "other")

    def _count(self, family: Family, *labels: str, by: float = 1) -> None:
        self._tallies.count(family, labels, by)

    def _observe(self, family: Family, seconds: float, *labels: str) -> None:
        self._tallies.observe(family, labels, seconds)
