"""Counters and histograms whose labels are not known before they are counted, in the form that Prometheus asks for them.

The client library's own are for any thread, and look through all buckets for each observation: of thousands of requests a second each
is counted eight times, all in the loop's thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from llmux.server.metrics._catalogue import Family, Kind

Labels = tuple[str, ...]


class _Spread:
    """How many observations each bucket of a histogram has had, the last beyond all bounds, and their sum."""

    __slots__ = ("buckets", "total")

    def __init__(self, bounds: int) -> None:
        self.buckets = [0] * (bounds + 1)
        self.total = 0.0


class Tallies:
    """All counters and histograms of a catalogue."""

    def __init__(self, families: Iterable[Family]) -> None:
        families = tuple(families)
        self._counts: dict[Family, dict[Labels, float]] = {
            family: defaultdict(float) for family in families if family.kind is Kind.COUNTER
        }
        self._spreads: dict[Family, dict[Labels, _Spread]] = {
            family: {} for family in families if family.kind is Kind.HISTOGRAM
        }

    def count(self, family: Family, labels: Labels, by: float = 1.0) -> None:
        """Add to a counter; to add nothing has it shown from now on."""
        self._counts[family][labels] += by

    def observe(self, family: Family, labels: Labels, seconds: float) -> None:
        """Add an observation to a histogram: the bucket's upper bound belongs to it."""
        spread = self._spreads[family].get(labels)
        if spread is None:
            spread = self._spreads[family][labels] = _Spread(len(family.buckets))
        spread.buckets[bisect_left(family.buckets, seconds)] += 1
        spread.total += seconds

    def forget(self, label: str, value: str) -> None:
        """Drop all that was counted under this value of a label."""
        for tallies in (self._counts, self._spreads):
            for family, tally in tallies.items():
                place = family.labels.index(label) if label in family.labels else None
                for labels in [each for each in tally if place is not None and each[place] == value]:
                    del tally[labels]

    def collect(self) -> Iterator[Metric]:
        """Yield each family as it stands."""
        for family, counts in self._counts.items():
            counter = CounterMetricFamily(family.name, family.meaning, labels=family.labels)
            for labels, count in counts.items():
                counter.add_metric(labels, count)
            yield counter
        for family, spreads in self._spreads.items():
            histogram = HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
            bounds = (*map(str, family.buckets), "+Inf")
            for labels, spread in spreads.items():
                up_to = zip(bounds, accumulate(spread.buckets), strict=True)
                histogram.add_metric(labels, list(up_to), spread.total)
            yield histogram
