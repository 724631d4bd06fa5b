"""What is configured for one model, as the driver needs it. Pure; durations in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from llmux.server._depth import STOPPED, deepened, deeper_than
from llmux.server._model import Eviction, Process, Weights
from llmux.server.scheduling.snapshot import Amounts


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
    window: float = 600.0
    """Seconds of serving after which earlier failures no longer count."""

    def pause(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row."""
        return 0.0 if failures < 2 else min(self.backoff * 2.0 ** min(failures - 2, 32), self.backoff_max)


@dataclass(frozen=True)
class Rung:
    """One depth of a ladder that a sleeping model goes down."""

    eviction: Eviction
    after: float | None
    """Seconds asleep after which it comes here; 0 for the first, None where only want of room brings it here."""


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


@dataclass(frozen=True)
class Rules:
    """One model's rules."""

    eviction: Eviction = _TO_DISK
    """How deep it sleeps unless told otherwise."""
    escalation: tuple[Eviction, ...] = ()
    """What is tried, one after the other, where that fails."""
    rungs: tuple[Rung, ...] = (Rung(_TO_DISK, 0.0), Rung(STOPPED, None))
    """How deep it may sleep, the lightest first."""
    drain: Drain = Drain()
    restart: Restart = Restart()
    request_timeout: float = 600.0
    """How long a request waits for the first byte of its answer."""
    stall: float | None = 120.0
    """How long an answer that has begun may bring nothing; None: for ever."""
    max_waiting: int = 1000
    """How many requests may wait for it."""
    priority: int = 0
    weight: float = 1.0
    pinned: bool = False
    preload: bool = False
    min_awake: float = 0.0
    ttl: float | None = None
    adapters: Mapping[str, str] = field(default_factory=dict)
    """The path of each LoRA adapter, by the name that clients ask for."""
    max_adapters: int = 4
    """How many of them an engine has loaded at a time."""

    engine: str = "command"
    """Which engine serves it, as errors name it."""
    aliases: tuple[str, ...] = ()
    """Further names that clients ask for it by."""
    served_name: str | None = None
    """What its engine calls it, where that is another name."""
    defaults: Mapping[str, object] = field(default_factory=dict)
    """Fields of the requests that do not say them."""
    max_tokens: int | None = None
    """How long an answer may be."""
    is_default: bool = False
    """Requests that name no model are for it."""

    def deeper(self, eviction: Eviction) -> Eviction | None:
        """Return the sleep one rung below this one, or None at the bottom. Weights stay as they are: nothing is woken."""
        rung = self._below(eviction)
        return None if rung is None else deepened(eviction, rung.eviction.process)

    def deepen_at(self, eviction: Eviction, asleep_since: float) -> float | None:
        """Return when one that sleeps so deep goes one rung deeper by itself."""
        rung = self._below(eviction)
        return None if rung is None or not rung.after else asleep_since + rung.after

    def _below(self, eviction: Eviction) -> Rung | None:
        return next((rung for rung in self.rungs if deeper_than(rung.eviction, eviction)), None)
