"""What processes have on GPUs, what is free there, and how much host memory could take it in."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pynvml

from llmux.server._node import limits
from llmux.server._nvml import opened

_RECLAIMED = re.compile(r"^(?:total_)?inactive_file (\d+)$", re.MULTILINE)
"""Pages of files that the kernel drops before it refuses memory (Documentation/admin-guide/cgroup-v2.rst, memory.stat)."""


def on_gpus(pids: Collection[int]) -> Mapping[str, int]:
    """Return the bytes that these processes have on each GPU, by its UUID.

    Empty where NVML does not tell: it is missing, or names processes by ids of another PID namespace.
    """
    found: dict[str, int] = {}
    with suppress(pynvml.NVMLError):  # MIG and vGPU have no such list
        for uuid, gpu in _gpus():
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(gpu):
                if process.pid in pids and process.usedGpuMemory is not None:
                    found[uuid] = found.get(uuid, 0) + int(process.usedGpuMemory)
    return found


def free_on_gpus() -> Mapping[str, int]:
    """Return the free bytes of each GPU, by its UUID; empty where NVML does not tell."""
    try:
        return {uuid: int(pynvml.nvmlDeviceGetMemoryInfo(gpu).free) for uuid, gpu in _gpus()}
    except pynvml.NVMLError:
        return {}


def _gpus() -> Iterator[tuple[str, object]]:
    with opened() as missing:
        for index in range(0 if missing else int(pynvml.nvmlDeviceGetCount())):
            gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
            yield str(pynvml.nvmlDeviceGetUUID(gpu)), gpu


def host_memory(root: Path = Path("/")) -> int:
    """Return the bytes that may still be taken: of the machine, and of our control group and those above it."""
    meminfo = (root / "proc/meminfo").read_text("ascii")
    fields = (line.split() for line in meminfo.splitlines())
    available = next(int(words[1]) * 1024 for words in fields if words[0] == "MemAvailable:")
    return min((available, *(limit - _taken(path) for limit, path in limits(root))))


def _taken(limit: Path) -> int:
    names = {"memory.max": "memory.current", "memory.limit_in_bytes": "memory.usage_in_bytes"}
    try:
        taken = int((limit.parent / names[limit.name]).read_text("ascii"))
        stat = (limit.parent / "memory.stat").read_text("ascii")
    except OSError:  # the group has gone, or shows its limit only
        return 0
    found = _RECLAIMED.findall(stat)
    return taken - int(found[-1] if found else 0)
