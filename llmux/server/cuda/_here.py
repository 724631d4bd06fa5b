"""Which GPUs are here, by NVML, and whether the driver takes a map of them."""

from __future__ import annotations

import pynvml

from llmux.server.cuda._results import MAPS_SINCE
from llmux.server.cuda.devices import Devices, Gpu


def devices(visible: str | None) -> Devices:
    """Return all that are here, for an engine with this CUDA_VISIBLE_DEVICES."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return Devices(visible=visible)
    try:
        return Devices(tuple(map(_gpu, range(int(pynvml.nvmlDeviceGetCount())))), visible)
    except pynvml.NVMLError:  # a GPU that has fallen off its bus
        return Devices(visible=visible)
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(str(pynvml.nvmlDeviceGetUUID(handle)), str(pynvml.nvmlDeviceGetName(handle)))


def without_maps() -> str:
    """Return the driver's version where it is one that takes no map; nothing where it does, or does not say."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ""
    try:
        takes_them = int(pynvml.nvmlSystemGetCudaDriverVersion_v2()) >= MAPS_SINCE
        return "" if takes_them else str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return ""
    finally:
        pynvml.nvmlShutdown()
