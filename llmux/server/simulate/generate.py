"""Traces made up by chance: the same seed makes the same trace. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from llmux.server.simulate.scenario import Request

Rate = Callable[[float], float]
"""Requests per second at a moment of the trace."""


@dataclass(frozen=True)
class Mix:
    """Which models are asked for, and how long their answers take."""

    weights: Sequence[tuple[str, float]]
    seconds: float = 1.0
    """The mean of an answer's time."""
    spread: float = 0.5
    """Of the logarithm of an answer's time; 0: all answers take the mean."""

    def draw(self, at: float, chance: Random) -> Request:
        """Return a request at this moment."""
        names = [name for name, _ in self.weights]
        model = chance.choices(names, [weight for _, weight in self.weights])[0]
        seconds = self.seconds * chance.lognormvariate(-(self.spread**2) / 2, self.spread)
        return Request(round(at, 3), model, round(seconds, 3))


def zipf(models: int, exponent: float = 1.0) -> tuple[tuple[str, float], ...]:
    """Return models of which the k-th is asked for in proportion to 1/k**exponent."""
    width = len(str(models))
    return tuple((f"m{k:0{width}}", k**-exponent) for k in range(1, models + 1))


def steady(rate: float) -> Rate:
    """Return a rate that does not change."""
    return lambda _at: rate


def diurnal(mean: float, day: float) -> Rate:
    """Return a rate that goes from a tenth of its mean at night to nearly twice that at noon."""
    return lambda at: mean * (1 - 0.9 * math.cos(2 * math.pi * at / day))


def bursts(rate: float, within: float, every: float, lasting: float) -> Rate:
    """Return a rate that is `within` for `lasting` seconds in the middle of every so many, and `rate` otherwise."""
    return lambda at: within if abs(at % every - every / 2) < lasting / 2 else rate


def poisson(mix: Mix, rate: Rate, seconds: float, seed: int) -> tuple[Request, ...]:
    """Return a Poisson process of this rate, thinned from one of its greatest rate."""
    chance = Random(seed)  # noqa: S311 - a simulation's chance
    highest = max(rate(seconds * step / 1000) for step in range(1001)) or 1e-9
    arrivals = itertools.takewhile(lambda at: at < seconds, _poisson(highest, chance))
    return tuple(mix.draw(at, chance) for at in arrivals if chance.random() * highest <= rate(at))


def alternation(
    models: Sequence[str], every: float, seconds: float, answer: float = 1.0
) -> tuple[Request, ...]:
    """Return one request after the other, each for the next model."""
    times = itertools.takewhile(lambda at: at < seconds, (i * every for i in itertools.count()))
    return tuple(Request(round(at, 3), models[i % len(models)], answer) for i, at in enumerate(times))


def merged(*traces: Sequence[Request]) -> tuple[Request, ...]:
    """Return all of these as one trace."""
    return tuple(sorted(itertools.chain(*traces), key=lambda request: request.at))


def _poisson(rate: float, chance: Random) -> Iterator[float]:
    at = chance.expovariate(rate)
    while True:
        yield at
        at += chance.expovariate(rate)
