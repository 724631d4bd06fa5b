"""The arguments of the driver's checkpoint API as they lie in memory: 64 bytes each, what is reserved zeroed.

Source: NVIDIA's documentation of CUcheckpoint*Args for CUDA 12.8, 13.0 and 13.3. The pairs of a restore came with 13.0, in bytes that were reserved before.
"""

from __future__ import annotations

import ctypes

_SIZE = 64
_ALIGNED = ctypes.c_uint64 * (_SIZE // 8)


class LockArgs(ctypes.Structure):
    """CUcheckpointLockArgs."""

    _fields_ = (
        ("timeout_ms", ctypes.c_uint),
        ("reserved0", ctypes.c_uint),
        ("reserved1", ctypes.c_uint64 * 7),
    )


class CheckpointArgs(ctypes.Structure):
    """CUcheckpointCheckpointArgs."""

    _fields_ = (("reserved", _ALIGNED),)


class GpuPair(ctypes.Structure):
    """CUcheckpointGpuPair: two UUIDs."""

    _fields_ = (("old", ctypes.c_ubyte * 16), ("new", ctypes.c_ubyte * 16))


class RestoreArgs(ctypes.Structure):
    """CUcheckpointRestoreArgs."""

    _fields_ = (
        ("pairs", ctypes.POINTER(GpuPair)),
        ("count", ctypes.c_uint),
        ("reserved", ctypes.c_char * 44),
        ("reserved1", ctypes.c_uint64),
    )


class UnlockArgs(ctypes.Structure):
    """CUcheckpointUnlockArgs."""

    _fields_ = (("reserved", _ALIGNED),)
