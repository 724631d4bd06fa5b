"""Hold memory on a GPU by the driver's library alone, look at all of it again and again, and tell: REPORT BYTES [ORDINAL]."""

import ctypes
import os
import sys
import zlib

from llmux.tiny_engine._cuda import Driver, Gpu
from reporting import report_for_ever

PIECE = 8 << 20


def main() -> None:
    size, ordinal = int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0
    gpu = Gpu(Driver(), ordinal)
    memory, counter = gpu.allocate(size), gpu.allocate(8)
    host, number = ctypes.create_string_buffer(PIECE), ctypes.c_uint64(0)
    gpu.write(counter, ctypes.addressof(number), 8)
    random = os.urandom(PIECE)
    for offset in range(0, size, PIECE):
        host[:] = random[offset // PIECE % PIECE :] + random[: offset // PIECE % PIECE]
        gpu.write(memory + offset, ctypes.addressof(host), min(PIECE, size - offset))

    def look() -> tuple[str, int]:
        checksum = 0
        for offset in range(0, size, PIECE):
            length = min(PIECE, size - offset)
            gpu.read(ctypes.addressof(host), memory + offset, length)
            checksum = zlib.crc32(memoryview(host)[:length], checksum)
        gpu.read(ctypes.addressof(number), counter, 8)
        number.value += 1
        gpu.write(counter, ctypes.addressof(number), 8)
        return f"{checksum:08x}", number.value

    report_for_ever(look, bytes=size)


main()
