"""A pool, a manager, shared memory and semaphores of Python's multiprocessing; answers on a Unix socket."""

from __future__ import annotations

import multiprocessing as mp
import os
import sys
from multiprocessing.connection import Listener
from multiprocessing.shared_memory import SharedMemory


def work(task: tuple[str, int]) -> tuple[int, int]:
    """Add in the named shared memory, under the inherited lock; return the worker and the sum."""
    name, number = task
    with lock:
        block = SharedMemory(name=name)
        block.buf[0] = (block.buf[0] + number) % 256
        total = block.buf[0]
        block.close()
    return os.getpid(), total


def inherit(shared: object) -> None:
    global lock  # noqa: PLW0603 - how a pool's workers get what they inherit
    lock = shared


def main() -> None:
    lock = mp.Lock()
    with mp.Manager() as manager, mp.Pool(2, inherit, (lock,)) as pool:
        seen = manager.dict()
        block = SharedMemory(name="pool-numbers", create=True, size=4096)
        with Listener(sys.argv[1], family="AF_UNIX") as listener:
            while True:
                with listener.accept() as client:
                    number = client.recv()
                    results = pool.map(work, [(block.name, number)] * 2, chunksize=1)
                    seen["asked"] = seen.get("asked", 0) + 1
                    client.send((seen["asked"], max(total for _, total in results), len(pool._pool)))


if __name__ == "__main__":
    main()
