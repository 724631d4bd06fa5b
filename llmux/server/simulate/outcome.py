"""What came of a simulation. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from llmux.server.scheduling.snapshot import Phase
from llmux.server.simulate.scenario import Request, Scenario


class Ended(StrEnum):
    """What became of a request."""

    ANSWERED = "answered"
    CUT = "cut"  # a sleep was held up for as long as it may be
    TIMED_OUT = "timed out"
    REFUSED = "refused"  # its model could not be had
    NEVER = "never answered"  # still waited when nothing was to come any more


@dataclass(frozen=True)
class Span:
    """A time that a replica spent in one phase."""

    engine: str
    model: str
    phase: Phase
    begin: float
    end: float


@dataclass
class Outcome:
    """One policy's way through one trace."""

    scenario: Scenario
    trace: Sequence[Request]
    ends: dict[int, Ended] = field(default_factory=dict)
    """By the request's number."""
    waits: dict[int, float] = field(default_factory=dict)
    """Seconds from its arrival until an engine took it, or until it ended without."""
    worst_turn: dict[str, float] = field(default_factory=dict)
    """By model: the longest that a request waited for its model to serve, since it came or its model last served."""
    spans: list[Span] = field(default_factory=list)
    wakes: int = 0
    busy: float = 0.0
    """Seconds in which a replica answered something, summed over replicas."""
    until: float = 0.0

    def summary(self) -> Summary:
        """Return the figures by which policies are compared."""
        waits = sorted(self.waits.values())
        ends = Counter(self.ends.values())
        return Summary(
            requests=len(self.trace),
            answered=ends[Ended.ANSWERED],
            p50=quantile(waits, 0.50),
            p95=quantile(waits, 0.95),
            p99=quantile(waits, 0.99),
            longest=waits[-1] if waits else 0.0,
            worst_turn=max(self.worst_turn.values(), default=0.0),
            starved=max(self.worst_turn, key=lambda name: self.worst_turn[name], default=""),
            switches=self.wakes,
            awake_share=self._share(s.end - s.begin for s in self.spans if s.phase is Phase.AWAKE),
            busy_share=self._share([self.busy]),
            seconds=self.until,
        )

    def _share(self, seconds: Iterable[float]) -> float:
        """Return which share of the time in which anything was awake or moved these seconds are."""
        whole = sum(s.end - s.begin for s in self.spans)
        return sum(seconds) / whole if whole else 0.0


@dataclass(frozen=True)
class Summary:
    """One row of a comparison. Times in seconds."""

    requests: int
    answered: int
    p50: float
    p95: float
    p99: float
    longest: float
    worst_turn: float
    starved: str
    """The model of the worst turn."""
    switches: int
    awake_share: float
    """Of the time that engines spent awake or on their way: how much they were awake."""
    busy_share: float
    """Of the same: how much they answered something."""
    seconds: float
    """Until the last request had ended."""


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank quantile of values in ascending order; 0 where there is none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
