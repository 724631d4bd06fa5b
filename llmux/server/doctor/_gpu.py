"""NVIDIA's GPUs by NVML, and whether a process that uses one can be checkpointed."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pynvml

from llmux.server.doctor._facts import Gpus

_CALL = "cuCheckpointProcessCheckpoint"
_OURS = "llmux-cuda-checkpoint"
_PLUGIN = "cuda_plugin.so"
_PLUGIN_DIRS = ("/usr/lib/criu", "/usr/local/lib/criu", "/usr/libexec/criu")


def look_at(plugin_dir: str | None, cuda_checkpoint: str | None) -> Gpus:
    """Return what is here; the two are what the configuration says."""
    places = (plugin_dir,) if plugin_dir else _PLUGIN_DIRS
    plugin = next((path for place in places if (path := Path(place) / _PLUGIN).exists()), None)
    program = next(filter(None, map(shutil.which, (cuda_checkpoint or "cuda-checkpoint", _OURS))), "")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Gpus(none_because=str(error))
    try:
        count = int(pynvml.nvmlDeviceGetCount())
        names = tuple(
            str(pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index))) for index in range(count)
        )
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        cuda = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
    except pynvml.NVMLError as error:
        return Gpus(none_because=str(error))
    finally:
        pynvml.nvmlShutdown()
    return Gpus(
        names,
        "" if names else "NVML finds none",
        driver,
        f"{cuda // 1000}.{cuda % 1000 // 10}",
        _has_checkpoint_api(),
        str(plugin or ""),
        program,
    )


def _has_checkpoint_api() -> bool:
    try:
        return hasattr(ctypes.CDLL("libcuda.so.1"), _CALL)
    except OSError:
        return False
