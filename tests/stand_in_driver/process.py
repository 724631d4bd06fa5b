"""A process with CUDA state, of the stand-in driver: it counts, each time waiting for the GPU as any engine does.

It prints its id once it is ready, and ends with its stdin.
"""

import ctypes
import os
import sys
import threading
import time
from pathlib import Path


def main():
    libcuda = ctypes.CDLL("libcuda.so.1")
    context, device = ctypes.c_void_p(), ctypes.c_int()
    assert libcuda.cuInit(0) == 0
    assert libcuda.cuDeviceGet(ctypes.byref(device), 0) == 0
    assert libcuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device) == 0
    threading.Thread(target=_count, args=(libcuda,), daemon=True).start()
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    sys.stdin.read()


def _count(libcuda):
    counter = Path(os.environ["LLMUX_STAND_IN_CUDA"], f"{os.getpid()}.count")
    number = 0
    while libcuda.cuCtxSynchronize() == 0:
        number += 1
        counter.write_text(str(number))
        time.sleep(0.005)


main()
