"""What each move of each replica has taken, smoothed; as plain data it outlives a restart. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

_GAIN = 0.3
"""How much the newest measurement counts."""
_DEVIATIONS = 4.0
"""As for a retransmission timer (RFC 6298): this many mean deviations above the mean is late."""


@dataclass(frozen=True)
class Estimate:
    """What a move takes, in seconds."""

    mean: float
    deviation: float
    samples: int

    @property
    def cautious(self) -> float:
        """A time that the move rarely takes longer than."""
        return self.mean + _DEVIATIONS * self.deviation

    def after(self, seconds: float) -> Estimate:
        """Return the estimate with one more measurement in it."""
        off = seconds - self.mean
        deviation = self.deviation + _GAIN * (abs(off) - self.deviation)
        return Estimate(self.mean + _GAIN * off, deviation, self.samples + 1)


@dataclass(frozen=True)
class Measured:
    """Estimates by replica and kind of move; the kinds' names are the caller's: `wake:disk`, `sleep:memory`."""

    moves: Mapping[tuple[str, str], Estimate] = field(default_factory=dict)

    def seen(self, replica: str, move: str, seconds: float) -> Measured:
        """Return these with one more measurement; the first one is the mean itself, and may be off by half of it."""
        if not math.isfinite(seconds) or seconds < 0:
            return self
        known = self.moves.get((replica, move))
        estimate = known.after(seconds) if known else Estimate(seconds, seconds / 2 / _DEVIATIONS, 1)
        return Measured({**self.moves, (replica, move): estimate})

    def of(self, replica: str, move: str, otherwise: float) -> Estimate:
        """Return the estimate, or `otherwise` where this was never measured."""
        return self.moves.get((replica, move), Estimate(otherwise, 0.0, 0))

    def only(self, replicas: frozenset[str]) -> Measured:
        """Return these without replicas that are no longer there."""
        return Measured({key: estimate for key, estimate in self.moves.items() if key[0] in replicas})

    def as_data(self) -> dict[str, object]:
        """Return the same as JSON can hold it."""
        data: dict[str, dict[str, dict[str, float]]] = {}
        for (replica, move), estimate in sorted(self.moves.items()):
            row = {"mean": estimate.mean, "deviation": estimate.deviation, "samples": estimate.samples}
            data.setdefault(replica, {})[move] = row
        return {"version": 1, "moves": data}


def from_data(data: object) -> Measured:
    """Return what `as_data` made. Raises ValueError with the path to what is wrong."""
    root = _mapping(data, "the file")
    if root.get("version") != 1:
        raise ValueError(f"version: {root.get('version')!r} is not 1")
    moves = {}
    for replica, kinds in _mapping(root.get("moves"), "moves").items():
        for move, row in _mapping(kinds, f"moves.{replica}").items():
            path = f"moves.{replica}.{move}"
            fields = _mapping(row, path)
            mean, deviation, samples = (
                _number(fields.get(name), f"{path}.{name}") for name in ("mean", "deviation", "samples")
            )
            moves[replica, move] = Estimate(mean, deviation, int(samples))
    return Measured(moves)


def _mapping(value: object, path: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{path}: is no object")  # noqa: TRY004 - one kind of error for whatever is wrong with it
    return {str(name): inner for name, inner in value.items()}


def _number(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{path}: {value!r} is no number of at least 0")
    return float(value)
