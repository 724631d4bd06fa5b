"""Which GPUs are here, by NVML, and whether the driver takes a map of them."""

from __future__ import annotations

from contextlib import suppress

import pynvml

from llmux.server._nvml import opened
from llmux.server.cuda._results import MAPS_SINCE
from llmux.server.cuda.devices import Devices, Gpu


def devices(visible: str | None) -> Devices:
    """Return all that are here, for an engine with this CUDA_VISIBLE_DEVICES."""
    with opened() as missing, suppress(pynvml.NVMLError):  # a GPU that has fallen off its bus
        if not missing:
            return Devices(tuple(map(_gpu, range(int(pynvml.nvmlDeviceGetCount())))), visible)
    return Devices(visible=visible)


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(str(pynvml.nvmlDeviceGetUUID(handle)), str(pynvml.nvmlDeviceGetName(handle)))


def without_maps() -> str:
    """Return the driver's version where it is one that takes no map; nothing where it does, or does not say."""
    with opened() as missing, suppress(pynvml.NVMLError):
        if not missing and int(pynvml.nvmlSystemGetCudaDriverVersion_v2()) < MAPS_SINCE:
            return str(pynvml.nvmlSystemGetDriverVersion())
    return ""
