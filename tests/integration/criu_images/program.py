"""A program with a named semaphore and a shared-memory ring, which on each SIGUSR1 changes both and writes a line about them."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.sem_open.restype = ctypes.c_void_p


def value_of(semaphore: int) -> int:
    value = ctypes.c_int()
    LIBC.sem_getvalue(ctypes.c_void_p(semaphore), ctypes.byref(value))
    return value.value


def main() -> None:
    semaphore = LIBC.sem_open(b"/proof-semaphore", os.O_CREAT | os.O_EXCL, 0o600, 0)
    fd = os.open("/dev/shm/proof-ring", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.ftruncate(fd, 1 << 20)
    ring = mmap.mmap(fd, 1 << 20)

    def work(*_: object) -> None:
        ring[0] += 1
        LIBC.sem_post(ctypes.c_void_p(semaphore))
        by_name = LIBC.sem_open(b"/proof-semaphore", 0)
        sys.stdout.write(
            f"ring {ring[0]}, semaphore {value_of(semaphore)}, by its name {value_of(by_name)}\n"
        )
        sys.stdout.flush()

    signal.signal(signal.SIGUSR1, work)
    work()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
