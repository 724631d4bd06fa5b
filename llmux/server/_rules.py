"""What is configured for one model, as the driver needs it. Pure; durations in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from llmux.server._model import Eviction, Process, Weights
from llmux.server.scheduling.snapshot import Amounts, Costs


class AfterDrain(StrEnum):
    """What becomes of a sleep when the time for requests in flight is over."""

    END = "end"  # the requests are ended with an error, and the model sleeps
    WAIT = "wait"  # the sleep waits for them without bound
    GIVE_UP = "give_up"  # the sleep is given up, and the model serves on


@dataclass(frozen=True)
class Drain:
    """How requests in flight and a sleep get on."""

    seconds: float = 300.0
    then: AfterDrain = AfterDrain.GIVE_UP


@dataclass(frozen=True)
class Restart:
    """How an engine that has failed is started again."""

    limit: int = 5
    """Failures in a row after which it is not started again by itself."""
    backoff: float = 1.0
    """The pause after the second failure in a row; it doubles with each further one. After the first there is none."""
    backoff_max: float = 60.0

    def pause(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row."""
        return 0.0 if failures < 2 else min(self.backoff * 2.0 ** min(failures - 2, 32), self.backoff_max)


@dataclass(frozen=True)
class Ladder:
    """When a sleeping model goes one rung deeper; None: never by itself."""

    deepen_after: float | None = None
    """From a kept process to disk."""
    stop_after: float | None = None
    """From disk, or a kept process where it cannot go to disk, to nothing at all."""


@dataclass(frozen=True)
class Sizes:
    """What a replica has of the node, as stated or measured."""

    awake: Amounts = field(default_factory=dict)
    asleep: Mapping[Process, Amounts] = field(default_factory=dict)
    """By what its sleep does with the process."""

    def when(self, eviction: Eviction) -> Amounts:
        """Return what it has asleep."""
        return self.asleep.get(eviction.process, {})


_TO_DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
_GUESSED = Costs(wake=10.0, sleep=2.0, drain=300.0)


@dataclass(frozen=True)
class Rules:
    """One model's rules."""

    eviction: Eviction = _TO_DISK
    """How deep it sleeps unless told otherwise."""
    escalation: tuple[Eviction, ...] = ()
    """What is tried, one after the other, where that fails."""
    ladder: Ladder = Ladder()
    drain: Drain = Drain()
    restart: Restart = Restart()
    request_timeout: float = 600.0
    """How long a request waits for the first byte of its answer."""
    max_waiting: int = 1000
    """How many requests may wait for it."""
    priority: int = 0
    weight: float = 1.0
    pinned: bool = False
    preload: bool = False
    min_awake: float = 0.0
    ttl: float | None = None
    costs: Costs = _GUESSED
    """What moving it takes, as long as nothing has been measured."""

    def deeper(self, eviction: Eviction) -> Eviction | None:
        """Return the next rung below a sleep, or None at the bottom. The weights stay as they are: nothing is woken."""
        match eviction.process:
            case Process.KEEP_RUNNING | Process.CUDA_SUSPEND:
                return Eviction(eviction.weights, Process.CHECKPOINT)
            case Process.CHECKPOINT:
                return Eviction(Weights.DISCARD, Process.STOP)
            case Process.STOP:
                return None

    def deepen_at(self, eviction: Eviction, since: float) -> float | None:
        """Return when one that sleeps so deep since then goes one rung deeper by itself."""
        match eviction.process:
            case Process.KEEP_RUNNING | Process.CUDA_SUSPEND:
                after = self.ladder.deepen_after
            case Process.CHECKPOINT:
                after = self.ladder.stop_after
            case Process.STOP:
                after = None
        return None if after is None else since + after


_DEPTH = (Process.KEEP_RUNNING, Process.CUDA_SUSPEND, Process.CHECKPOINT, Process.STOP)


def deeper_than(one: Eviction, other: Eviction) -> bool:
    """Say whether one sleep is deeper than another by what it does with the process."""
    return _DEPTH.index(one.process) > _DEPTH.index(other.process)
