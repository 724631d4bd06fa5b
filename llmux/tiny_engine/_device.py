"""Where the weights and the count of steps are: in the worker's own memory, or on a GPU (_gpu.py)."""

import mmap
from collections.abc import Mapping
from io import BufferedReader
from typing import Protocol

Facts = Mapping[str, str | int]


class Memory(Protocol):
    """Memory for the weights. Each method raises DeviceError where a GPU is in between."""

    def view(self) -> mmap.mmap:
        """Return the weights where numpy reads them; what an earlier view saw may be written anew."""

    def fill(self, file: BufferedReader) -> int:
        """Read them from a file; return how many bytes it had."""

    def aside(self) -> mmap.mmap:
        """Return a copy in host memory of all that is here."""

    def put_back(self, copy: mmap.mmap) -> None:
        """Take it in again."""

    def check(self, *, thorough: bool) -> None:
        """Raise DeviceError where a byte is not as it was written; `thorough`: all of them are looked at."""

    def close(self) -> None:
        """Give the memory back. Raises BufferError while an array looks into a view."""


class Device(Protocol):
    """What the network runs with. Each method raises DeviceError where a GPU is in between."""

    def allocate(self, size: int) -> Memory:
        """Return memory for weights of this many bytes."""

    def count(self, result: bytes) -> None:
        """Note that one more step has been made, and what came of it."""

    def check(self) -> None:
        """Raise DeviceError where the count is not what it was."""

    def facts(self) -> Facts:
        """Return what this is, and how far the count is."""


class HostMemory:
    """One anonymous mapping of the weights' exact size, so that giving it back is one munmap."""

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, size)

    def view(self) -> mmap.mmap:
        return self._memory

    def fill(self, file: BufferedReader) -> int:
        return file.readinto(self._memory)

    def aside(self) -> mmap.mmap:
        return copied(self._memory)

    def put_back(self, copy: mmap.mmap) -> None:
        self._memory[:] = copy[:]

    def check(self, *, thorough: bool) -> None:
        """Find nothing: what is in a process's own memory is checked by nobody."""

    def close(self) -> None:
        self._memory.close()


class Host:
    """No GPU: nothing is counted."""

    def allocate(self, size: int) -> HostMemory:
        return HostMemory(size)

    def count(self, result: bytes) -> None:
        """Count nothing."""

    def check(self) -> None:
        """Find nothing."""

    def facts(self) -> Facts:
        return {"device": "cpu"}


def copied(memory: mmap.mmap) -> mmap.mmap:
    copy = mmap.mmap(-1, len(memory))
    copy[:] = memory[:]
    return copy
