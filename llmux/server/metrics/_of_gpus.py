"""What NVML tells at this moment, as gauges."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric

from llmux.server._driver import Driver
from llmux.server.gpus import Gpus, Sight
from llmux.server.metrics import _catalogue as of
from llmux.server.metrics._looked_at import gauge


def gpu_gauges(driver: Driver, gpus: Gpus, sight: Sight) -> Iterator[Metric]:
    """Yield what is known of each GPU, and of what engines have there."""
    yield gauge(of.GPU_MEMORY, (((str(each.index),), each.memory) for each in sight.gpus))
    yield gauge(of.GPU_USED, (((str(each.index),), each.used) for each in sight.gpus))
    others = (((str(gpu),), size) for gpu, size in sight.others.items() if size is not None)
    yield gauge(of.GPU_OTHERS, others)
    of_replicas = (
        ((each.model, each.name, str(gpu)), size)
        for each in driver.replicas
        if each.life
        for gpu, size in (sight.shares.get(each.name) or {}).items()
    )
    yield gauge(of.GPU_OF_REPLICA, of_replicas)
    yield gauge(of.GPU_LOST, (((str(gpu),), float(gpu in gpus.lost)) for gpu in gpus.indexes))
