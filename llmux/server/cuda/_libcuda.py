"""The driver's checkpoint API through libcuda.so.1. Each call blocks, a lock for ever if it is let.

Only the console script loads it, and ends with its work: a call that hangs is ended with its process, cuInit leaves nothing behind in llmux
(threads, open /dev/nvidia*, host memory), and a driver that crashes takes nobody with it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from llmux.server.cuda import _results
from llmux.server.cuda._command import Pair
from llmux.server.cuda._layout import CheckpointArgs, GpuPair, LockArgs, RestoreArgs, UnlockArgs
from llmux.server.cuda._results import Result, State, by_number
from llmux.server.cuda.errors import INITIALIZE, error_of

LIBRARY = "libcuda.so.1"
_PREFIX = "cuCheckpointProcess"
_CALLS = ("GetState", "GetRestoreThreadId", "Lock", "Checkpoint", "Restore", "Unlock")


class Libcuda:
    """The library, loaded and initialized. Each method raises a CudaError with the CUresult's name."""

    def __init__(self, pid: int) -> None:
        """Load it, to do something with process `pid`."""
        self._pid = pid
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise error_of(INITIALIZE, pid, _results.NO_LIBRARY) from error
        if not all(hasattr(self._library, _PREFIX + call) for call in _CALLS):
            raise error_of(INITIALIZE, pid, _results.NO_API)
        self._expect(INITIALIZE, by_number(self._library.cuInit(0)))
        # For a process that is not there the driver answers success and a state out of thin air (cuda-python's issue 561).
        if not Path(f"/proc/{pid}").exists():
            raise error_of("find", pid, _results.INVALID_VALUE)

    def state(self) -> State:
        """Return the state of the process."""
        number = ctypes.c_int(-1)
        self._call("read the state of", "GetState", ctypes.byref(number))
        try:
            return State(number.value)
        except ValueError:
            raise error_of("read the state of", self._pid, _results.INVALID_VALUE) from None

    def restore_thread(self) -> int:
        """Return the id of the thread that does the work in the process."""
        number = ctypes.c_int(0)
        self._call("find the restore thread of", "GetRestoreThreadId", ctypes.byref(number))
        return number.value

    def lock(self, timeout_ms: int) -> None:
        """Hold its calls once the GPU has done what it has been given; in 0 ms: however long that takes."""
        self._call("lock", "Lock", ctypes.byref(LockArgs(timeout_ms=timeout_ms)))

    def checkpoint(self) -> None:
        """Move its GPU memory into host memory, and let go of the GPUs."""
        self._call("checkpoint", "Checkpoint", ctypes.byref(CheckpointArgs()))

    def restore(self, device_map: tuple[Pair, ...] = ()) -> None:
        """Move it back, to other GPUs where the map says so; it is locked then."""
        args = RestoreArgs()
        if device_map:
            if self._version() < _results.MAPS_SINCE:
                raise error_of("restore", self._pid, _results.NO_MAP)
            args.pairs = (GpuPair * len(device_map))(*map(_gpu_pair, device_map))
            args.count = len(device_map)
        self._call("restore", "Restore", ctypes.byref(args))

    def unlock(self) -> None:
        """Let its calls go on."""
        self._call("unlock", "Unlock", ctypes.byref(UnlockArgs()))

    def _version(self) -> int:
        number = ctypes.c_int(0)
        self._expect(INITIALIZE, by_number(self._library.cuDriverGetVersion(ctypes.byref(number))))
        return number.value

    def _call(self, action: str, call: str, argument: object) -> None:
        function = getattr(self._library, _PREFIX + call)
        self._expect(action, by_number(function(ctypes.c_int(self._pid), argument)))

    def _expect(self, action: str, result: Result) -> None:
        if result != _results.SUCCESS:
            raise error_of(action, self._pid, result)


def _gpu_pair(pair: Pair) -> GpuPair:
    sixteen = ctypes.c_ubyte * 16
    return GpuPair(sixteen(*pair.old.bytes), sixteen(*pair.new.bytes))
