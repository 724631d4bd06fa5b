"""Gives every Python process that has this directory on its path CUDA state, of the stand-in driver.

It counts from then on, each time waiting for the GPU as an engine does.
"""

import ctypes
import os
import threading
import time
from pathlib import Path


def _begin():
    libcuda = ctypes.CDLL("libcuda.so.1")
    context, device = ctypes.c_void_p(), ctypes.c_int()
    assert libcuda.cuInit(0) == 0
    assert libcuda.cuDeviceGet(ctypes.byref(device), 0) == 0
    assert libcuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device) == 0
    threading.Thread(target=_count, args=(libcuda,), daemon=True).start()


def _count(libcuda):
    counter = Path(os.environ["LLMUX_STAND_IN_CUDA"], f"{os.getpid()}.count")
    number = 0
    while libcuda.cuCtxSynchronize() == 0:
        number += 1
        counter.write_text(str(number))
        time.sleep(0.005)


_begin()
