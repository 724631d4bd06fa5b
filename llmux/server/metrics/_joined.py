"""Many expositions made one that is valid: families of one name merged, each engine's samples under its own labels. Pure.

What an engine says is not trusted: names that are llmux's own, names that are none, doubles, and families of another type
than the first of their name are left out. Labels `model` and `replica` of an engine's own become `exported_model` and
`exported_replica`, as Prometheus does it; a counter whose name is without `_total` gets it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from llmux.server.metrics._engines import Scraped

OWN = "llmux_"
"""What llmux's own names begin with."""

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_RENAMED = {"model": "exported_model", "replica": "exported_replica"}


def read(scraped: Scraped) -> tuple[Metric, ...] | None:
    """Return what an engine says under its model's and replica's labels; None where that is no exposition."""
    try:
        families = tuple(text_string_to_metric_families(scraped.text or ""))
    except (ValueError, KeyError, IndexError):  # what the parser raises for what it cannot read
        return None
    return tuple(_labelled(family, scraped) for family in families if _is_named(family.name))


def joined(families: Iterable[Metric]) -> tuple[Metric, ...]:
    """Return one family of each name with all samples of its type."""
    merged: dict[str, Metric] = {}
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for family in families:
        into = merged.setdefault(family.name, _empty(family))
        if into.type == family.type:
            into.samples.extend(_new(family.samples, seen))
    return tuple(family for family in merged.values() if family.samples)


def _new(samples: Iterable[Sample], seen: set[tuple[str, tuple[tuple[str, str], ...]]]) -> Iterator[Sample]:
    for sample in samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        if key not in seen:
            seen.add(key)
            yield sample


def _is_named(name: str) -> bool:
    return not name.startswith(OWN) and _METRIC.fullmatch(name) is not None


def _labelled(family: Metric, scraped: Scraped) -> Metric:
    labelled = _empty(family)
    for sample in family.samples:
        if _METRIC.fullmatch(sample.name) and all(map(_LABEL.fullmatch, sample.labels)):
            labels = {_RENAMED.get(name, name): value for name, value in sample.labels.items()}
            labels |= {"model": scraped.model, "replica": scraped.replica}
            labelled.samples.append(Sample(sample.name, labels, sample.value))
    return labelled


def _empty(family: Metric) -> Metric:
    return Metric(family.name, family.documentation, family.type)
