"""What is so at this moment: the driver's records as gauges."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from llmux.server._driver import Driver
from llmux.server._model import STATE_NAMES, name_of
from llmux.server.metrics import _catalogue as of
from llmux.server.metrics._catalogue import Family

_VERSION = version("llmux")  # now: it is read from files


def gauges(driver: Driver) -> Iterator[Metric]:
    """Yield what the driver's records say now."""
    node, models, now = driver.node, driver.models.values(), time.monotonic()
    replicas = tuple(driver.replicas)
    yield gauge(of.WAITING, (((model.name,), len(model.queue)) for model in models))
    yield gauge(of.IN_FLIGHT, (((each.model, each.name), len(each.flights)) for each in replicas))
    states = (
        ((each.model, each.name, state), float(state == name_of(each.state)))
        for each in replicas
        for state in STATE_NAMES
    )
    yield gauge(of.STATE, states)
    yield gauge(of.STATE_AGE, (((each.model, each.name), now - each.state.since) for each in replicas))
    sizes = (((each.model, each.name), each.stored.size_bytes) for each in replicas if each.stored)
    yield gauge(of.CHECKPOINT, sizes)
    unusable = (((each.model, each.name), float(each.checkpoint_problem is not None)) for each in replicas)
    yield gauge(of.CHECKPOINT_PROBLEM, unusable)
    yield gauge(of.CAPACITY, (((name,), amount) for name, amount in node.capacity.items()))
    yield gauge(of.HELD, (((name,), amount) for name, amount in node.held.items()))
    yield gauge(of.LONGEST_WAIT, () if node.bound is None else [((), node.bound)])
    yield gauge(of.STOPPING, [((), float(driver.stopping))])
    yield gauge(of.BUILD, [((_VERSION,), 1.0)])


def gauge(family: Family, samples: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """Return one gauge with these values by their labels' values."""
    metric = GaugeMetricFamily(family.name, family.meaning, labels=family.labels)
    for labels, value in samples:
        metric.add_metric(labels, value)
    return metric
