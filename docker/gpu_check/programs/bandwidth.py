"""Measure copies between pinned host memory and a GPU: the best of some, in bytes a second, as JSON. Called with the size in bytes."""

import json
import sys
import time
from collections.abc import Callable

from llmux.tiny_engine._cuda import Driver, Gpu

TIMES = 8


def main() -> None:
    size = int(sys.argv[1])
    gpu = Gpu(Driver())
    address = gpu.allocate(size)
    with gpu.pinned(size) as host:
        rates = {
            "to_gpu": best(gpu, size, lambda: gpu.write(address, host, size)),
            "to_host": best(gpu, size, lambda: gpu.read(host, address, size)),
        }
    gpu.free(address)
    json.dump(rates, sys.stdout)


def best(gpu: Gpu, size: int, copy: Callable[[], None]) -> float:
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        copy()
        gpu.synchronize()
        seconds.append(time.perf_counter() - began)
    return size / min(seconds)


main()
