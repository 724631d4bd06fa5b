"""Prompts from the API process to the worker: slots in shared memory, free ones counted by a named semaphore.

One writer, one reader, slots used in turn and read in the order written; so the count of free slots is all that the
two must agree on. The spawn context matters: only there does CPython keep the semaphore's name until the end (under
fork it unlinks it at once), and only a named one can be opened by a process that is not a fork.
"""

from array import array
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Semaphore
from typing import Final

from llmux.tiny_engine.errors import BusyError

SLOT_BYTES: Final = 64 << 10
SLOTS: Final = 1024
_TYPE: Final = "I"
SLOT_TOKENS: Final = SLOT_BYTES // array(_TYPE).itemsize


class RingWriter:
    """Owns the shared memory; `close` removes it."""

    def __init__(self) -> None:
        self.free: Semaphore = get_context("spawn").Semaphore(SLOTS)
        self._shared = SharedMemory(create=True, size=SLOTS * SLOT_BYTES)
        self._memory = _mapped(self._shared)
        self._next = 0

    @property
    def name(self) -> str:
        return self._shared.name

    def put(self, tokens: Sequence[int]) -> int:
        """Write a prompt of at most SLOT_TOKENS tokens to the next slot; returns the slot. Raises BusyError."""
        if not self.free.acquire(block=False):
            raise BusyError(SLOTS)
        slot, self._next = self._next, (self._next + 1) % SLOTS
        data = array(_TYPE, tokens).tobytes()
        self._memory[slot * SLOT_BYTES : slot * SLOT_BYTES + len(data)] = data
        return slot

    def close(self) -> None:
        self._memory.release()
        self._shared.close()
        self._shared.unlink()


class RingReader:
    """The worker's side of a ring."""

    def __init__(self, name: str, free: Semaphore) -> None:
        self._free = free
        self._shared = SharedMemory(name)
        self._memory = _mapped(self._shared)

    def take(self, slot: int, length: int) -> list[int]:
        """Read a prompt and give its slot back."""
        tokens = array(_TYPE)
        start = slot * SLOT_BYTES
        tokens.frombytes(bytes(self._memory[start : start + length * tokens.itemsize]))
        self._free.release()
        return tokens.tolist()

    def close(self) -> None:
        self._memory.release()
        self._shared.close()


def _mapped(shared: SharedMemory) -> memoryview:
    if shared.buf is None:
        raise ValueError("closed shared memory")
    return shared.buf[:]
