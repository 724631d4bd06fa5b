"""NVML by its library alone: the driver brings libnvidia-ml.so.1, and no package is needed. Source: NVIDIA's NVML API Reference."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

LIBRARY = "libnvidia-ml.so.1"
_TEXT = 96
"""Bytes: the longest of a UUID and a version with its NUL."""


class NvmlError(Exception):
    """NVML is not there, or refuses."""


class _Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@dataclass(frozen=True)
class Nvml:
    """The library, initialized."""

    library: ctypes.CDLL

    def version(self) -> str:
        """Return the driver's version."""
        return self._text("nvmlSystemGetDriverVersion")

    def used(self) -> Mapping[str, int]:
        """Return the bytes that are taken on each GPU, by its UUID."""
        count = ctypes.c_uint()
        self._call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        return dict(self._used(index) for index in range(count.value))

    def _used(self, index: int) -> tuple[str, int]:
        gpu, memory = ctypes.c_void_p(), _Memory()
        self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(gpu))
        self._call("nvmlDeviceGetMemoryInfo", gpu, ctypes.byref(memory))
        return self._text("nvmlDeviceGetUUID", gpu), memory.used

    def _text(self, name: str, *arguments: object) -> str:
        text = ctypes.create_string_buffer(_TEXT)
        self._call(name, *arguments, text, ctypes.c_uint(_TEXT))
        return text.value.decode("utf-8", "replace")

    def _call(self, name: str, *arguments: object) -> None:
        if (result := getattr(self.library, name)(*arguments)) != 0:
            self.library.nvmlErrorString.restype = ctypes.c_char_p
            words = self.library.nvmlErrorString(result) or b""
            raise NvmlError(f"{name}: {words.decode('utf-8', 'replace')} ({result})")


@contextmanager
def opened() -> Iterator[Nvml]:
    """Give NVML. Raises NvmlError."""
    try:
        nvml = Nvml(ctypes.CDLL(LIBRARY))
        nvml._call("nvmlInitWithFlags", ctypes.c_uint(0))  # noqa: SLF001 - it is this module's
    except (OSError, AttributeError) as error:
        raise NvmlError(str(error)) from error
    try:
        yield nvml
    finally:
        nvml.library.nvmlShutdown()


def used_on(uuid: str) -> int:
    """Return the bytes that are taken on a GPU. Raises NvmlError."""
    with opened() as nvml:
        used = nvml.used()
    if uuid not in used:
        raise NvmlError(f"there is no {uuid}, only {', '.join(used)}")
    return used[uuid]
