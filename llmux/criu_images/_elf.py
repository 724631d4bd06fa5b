"""The GNU build-id of an ELF file, which CRIU compares before it maps one (`get_build_id` of its files-reg.c)."""

from __future__ import annotations

import os
import struct

_NOTE = 4
"""PT_NOTE."""
_GNU_BUILD_ID = 3
_MOST_NOTES = 1 << 16


def read_build_id(fd: int) -> str | None:
    """Return the build-id in hex, or None where `fd` is no 64-bit little-endian ELF file or has none; raises OSError."""
    header = os.pread(fd, 64, 0)
    if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
        return None
    (table_at,) = struct.unpack_from("<Q", header, 32)
    entry_size, count = struct.unpack_from("<HH", header, 54)
    if entry_size < 56:
        return None
    table = os.pread(fd, entry_size * count, table_at)
    for start in range(0, len(table) - 55, entry_size):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", table, start)
        if kind == _NOTE:
            found = _find(os.pread(fd, min(size, _MOST_NOTES), offset))
            if found is not None:
                return found
    return None


def _find(notes: bytes) -> str | None:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        content = at + 12 + -(-name_size // 4) * 4
        if kind == _GNU_BUILD_ID and notes[at + 12 : at + 16] == b"GNU\0":
            return notes[content : content + size].hex()
        at = content + -(-size // 4) * 4
    return None
