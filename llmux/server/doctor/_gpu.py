"""NVIDIA's GPUs by NVML, and whether a process that uses one can be checkpointed."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pynvml

from llmux.server._nvml import opened
from llmux.server.doctor._facts import Gpu, Gpus, GpuUser
from llmux.server.doctor._processes import is_llmuxs, name_of
from llmux.server.gpus import User, users_of

_CALL = "cuCheckpointProcessCheckpoint"
_OURS = "llmux-cuda-checkpoint"
_PLUGIN = "cuda_plugin.so"
_PLUGIN_DIRS = ("/usr/lib/criu", "/usr/local/lib/criu", "/usr/libexec/criu")


def look_at(plugin_dir: str | None, cuda_checkpoint: str | None, proc: Path = Path("/proc")) -> Gpus:
    """Return what is here; the first two are what the configuration says."""
    places = (plugin_dir,) if plugin_dir else _PLUGIN_DIRS
    plugin = next((path for place in places if (path := Path(place) / _PLUGIN).exists()), None)
    program = next(filter(None, map(shutil.which, (cuda_checkpoint or "cuda-checkpoint", _OURS))), "")
    with opened() as missing:
        if missing:
            return Gpus(none_because=missing)
        try:
            count = int(pynvml.nvmlDeviceGetCount())
            driver = str(pynvml.nvmlSystemGetDriverVersion())
            cuda = int(pynvml.nvmlSystemGetCudaDriverVersion_v2())
        except pynvml.NVMLError as error:
            return Gpus(none_because=str(error))
        each = tuple(_gpu(index, proc) for index in range(count))
    return Gpus(
        each,
        "" if each else "NVML finds none",
        driver,
        f"{cuda // 1000}.{cuda % 1000 // 10}",
        _has_checkpoint_api(),
        str(plugin or ""),
        program,
    )


def _gpu(index: int, proc: Path) -> Gpu:
    try:
        gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
        name, uuid = str(pynvml.nvmlDeviceGetName(gpu)), str(pynvml.nvmlDeviceGetUUID(gpu))
        memory = int(pynvml.nvmlDeviceGetMemoryInfo(gpu).total)
    except pynvml.NVMLError as error:
        return Gpu(index, problem=str(error))
    users = users_of(gpu)
    others = (
        None if users is None else tuple(_user(each, proc) for each in users if not is_llmuxs(each.pid, proc))
    )
    return Gpu(index, name, uuid, memory, *_mig(gpu), _persistence(gpu), others)


def _mig(gpu: object) -> tuple[bool | None, bool | None]:
    try:
        current, pending = pynvml.nvmlDeviceGetMigMode(gpu)
    except pynvml.NVMLError:  # most GPUs have none
        return None, None
    return bool(current), bool(pending)


def _persistence(gpu: object) -> bool | None:
    try:
        return bool(pynvml.nvmlDeviceGetPersistenceMode(gpu))
    except pynvml.NVMLError:
        return None


def _user(user: User, proc: Path) -> GpuUser:
    return GpuUser(user.pid, name_of(user.pid, proc), user.memory)


def _has_checkpoint_api() -> bool:
    try:
        return hasattr(ctypes.CDLL("libcuda.so.1"), _CALL)
    except OSError:
        return False
