"""How deep a model sleeps: the sections `eviction` and `ladder`, and the short form `sleep_level`."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import model_validator

from llmux.server._depth import DEPTH, deepened
from llmux.server._model import Eviction, Process, Weights
from llmux.server._rules import Rung
from llmux.server.config import _matrix
from llmux.server.config._types import LongSeconds, Section

SleepLevel = Literal[1, 2, 3, 4, 5]


class EvictionConfig(Section):
    """How deep a model sleeps when it is put to sleep."""

    weights: Literal["retain", "offload", "discard"] = "discard"
    """What becomes of the weights: they stay, go to host memory (vLLM's sleep level 1), or are read again at wake (level 2)."""
    process: Literal["keep_running", "checkpoint", "stop", "cuda_suspend"] = "checkpoint"
    """What becomes of the engine's processes: they run on, are dumped to disk by CRIU, ended, or their GPU memory is moved out."""
    escalate: tuple[Literal["keep_running", "checkpoint", "stop"], ...] = ()
    """The processes that are tried in turn where a sleep fails, each deeper than the one before; none: the model serves on."""

    @model_validator(mode="after")
    def _can_work(self) -> EvictionConfig:
        if reason := _matrix.never(self.eviction()):
            raise ValueError(reason)
        for before, after in pairwise((self.process, *self.escalate)):
            if DEPTH[Process(after)] <= DEPTH[Process(before)]:
                raise ValueError(
                    f"escalate goes deeper step by step (keep_running, checkpoint, stop), and {after!r} is not deeper "
                    f"than {before!r}; leave it out, or put it in this order"
                )
        return self

    def eviction(self) -> Eviction:
        """Return the same as the state machine knows it."""
        return Eviction(Weights(self.weights), Process(self.process))

    def escalations(self) -> tuple[Eviction, ...]:
        """Return what is tried in turn where `eviction()` fails."""
        return tuple(deepened(self.eviction(), Process(process)) for process in self.escalate)


def of_level(level: SleepLevel) -> EvictionConfig:
    """Return what a sleep level of earlier releases means."""
    eviction = _matrix.SLEEP_LEVELS[level]
    return EvictionConfig(weights=eviction.weights.value, process=eviction.process.value)


class LadderConfig(Section):
    """How a sleeping model goes deeper as time passes, without waking: to disk, then stopped."""

    deepen_after: LongSeconds | None = None
    """Seconds asleep in memory after which it is dumped to disk."""
    stop_after: LongSeconds | None = None
    """Seconds asleep, in memory or on disk, after which its engine is ended and its images are removed."""

    @model_validator(mode="after")
    def _in_order(self) -> LadderConfig:
        if self.deepen_after and self.stop_after and self.stop_after <= self.deepen_after:
            raise ValueError(
                f"stop_after ({self.stop_after:g} s) must be more than deepen_after ({self.deepen_after:g} s): "
                "both count from when the model fell asleep"
            )
        return self


def ladder_fault(eviction: EvictionConfig, ladder: LadderConfig) -> str:
    """Return why this ladder has no rung below this eviction; or an empty text."""
    process = Process(eviction.process)
    if ladder.deepen_after and DEPTH[process] >= DEPTH[Process.CHECKPOINT]:
        return (
            f"deepen_after takes a model from memory to disk, and its eviction's process is {eviction.process!r} at once; "
            'say "process": "keep_running", or leave deepen_after out'
        )
    if ladder.stop_after and process is Process.STOP:
        return "stop_after ends an engine that still sleeps, and its eviction's process is 'stop' at once; leave it out"
    return ""


def rungs(eviction: EvictionConfig, ladder: LadderConfig, *, checkpoints: bool = True) -> tuple[Rung, ...]:
    """Return how deep a model may sleep, the shallowest first.

    A ladder with `stop_after` alone has no rung on disk; without `checkpoints` (no CRIU here) none has. The rungs below
    the first are there without a ladder too: a model goes down to them where its room is wanted.
    """
    first = eviction.eviction()
    depth = DEPTH[first.process]
    straight_to_stop = ladder.stop_after is not None and ladder.deepen_after is None
    found = [Rung(first, 0.0)]
    if depth < DEPTH[Process.CHECKPOINT] and checkpoints and not straight_to_stop:
        found.append(Rung(deepened(first, Process.CHECKPOINT), ladder.deepen_after))
    if depth < DEPTH[Process.STOP]:
        found.append(Rung(deepened(first, Process.STOP), ladder.stop_after))
    return tuple(found)
