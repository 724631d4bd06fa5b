"""Seconds to copy sparse files of 10 GB with their digest: they grow with the data, not with the size."""

from __future__ import annotations

import os
import tempfile
import time

from llmux.criu_images._digest import Algorithm, copy_file

SIZE = 10_000_000_000
MEBIBYTE = 1 << 20


def measure(mebibytes: int) -> float:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as copy:
        for number in range(mebibytes):
            os.pwrite(source.fileno(), os.urandom(MEBIBYTE), SIZE // mebibytes * number)
        os.ftruncate(source.fileno(), SIZE)
        began = time.perf_counter()
        copy_file(source.fileno(), copy.fileno(), SIZE, Algorithm.SPARSE)
        return time.perf_counter() - began


if __name__ == "__main__":
    for mebibytes in (1, 16, 64, 256):
        print(f"10 GB with {mebibytes:3} MiB of data: {measure(mebibytes):6.3f} s")  # noqa: T201
