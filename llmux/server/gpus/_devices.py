"""NVML's calls, each with what goes wrong as a value: the bindings raise, and a GPU may be lost in the midst of anything.

All block, and may hang where the driver does: they are for threads that nobody waits for without an end.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

import pynvml

from llmux.server._nvml import GONE, opened
from llmux.server.gpus._seen import Gpu, User

_TIMEOUT = pynvml.NVML_ERROR_TIMEOUT
XID = int(pynvml.nvmlEventTypeXidCriticalError)


@dataclass(frozen=True)
class Xid:
    """A critical error that the driver has told of."""

    gpu: int
    number: int


def look(indexes: Collection[int]) -> tuple[Gpu, ...]:
    """Return those of these GPUs that answer."""
    with opened() as missing:
        return () if missing else tuple(filter(None, map(_look_at, sorted(indexes))))


def _look_at(index: int) -> Gpu | None:
    try:
        gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
        uuid, name = str(pynvml.nvmlDeviceGetUUID(gpu)), str(pynvml.nvmlDeviceGetName(gpu))
    except pynvml.NVMLError:
        return None
    return Gpu(index, uuid, name, int(memory.total), int(memory.used), users_of(gpu))


def users_of(gpu: object) -> tuple[User, ...] | None:
    """Return the processes that compute on a GPU, by its handle; None where NVML does not tell."""
    try:
        found = pynvml.nvmlDeviceGetComputeRunningProcesses(gpu)
    except pynvml.NVMLError:
        return None
    return tuple(
        User(int(each.pid), None if each.usedGpuMemory is None else int(each.usedGpuMemory)) for each in found
    )


def gone(index: int) -> str:
    """Return in NVML's words why a GPU is lost, or nothing: any other error is none of the GPU's."""
    try:
        pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(index))
    except pynvml.NVMLError as error:
        return str(error) if error.value in GONE else ""
    return ""


class Events:
    """The critical errors of some GPUs, as far as these tell of any; `close` in the end."""

    def __init__(self, indexes: Collection[int]) -> None:
        """Listen from now on. NVML is to be open."""
        self._indexes: dict[int | None, int] = {}
        self._set = None
        with suppress(pynvml.NVMLError):  # virtual GPUs and WSL have no events
            self._set = pynvml.nvmlEventSetCreate()
        if self._set is not None:
            for index in indexes:
                self._listen_to(index)

    def _listen_to(self, index: int) -> None:
        with suppress(pynvml.NVMLError):
            gpu = pynvml.nvmlDeviceGetHandleByIndex(index)
            if int(pynvml.nvmlDeviceGetSupportedEventTypes(gpu)) & XID:
                pynvml.nvmlDeviceRegisterEvents(gpu, XID, self._set)
                self._indexes[_address(gpu)] = index

    def __bool__(self) -> bool:
        """Say whether any of them tells."""
        return bool(self._indexes)

    def wait(self, seconds: float) -> Xid | None:
        """Return the next error that comes within this time. Raises OSError where NVML cannot wait."""
        try:
            event = pynvml.nvmlEventSetWait_v2(self._set, int(seconds * 1000))
        except pynvml.NVMLError as error:
            if error.value == _TIMEOUT:
                return None
            raise OSError(str(error)) from error
        index = self._indexes.get(_address(event.device))
        return None if index is None else Xid(index, int(event.eventData))

    def close(self) -> None:
        """Listen no more."""
        if self._set is not None:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlEventSetFree(self._set)


def _address(gpu: ctypes.c_void_p) -> int | None:
    """Return what tells one handle from another: the bindings make a new object for each."""
    return ctypes.cast(gpu, ctypes.c_void_p).value
