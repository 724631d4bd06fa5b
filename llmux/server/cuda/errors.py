"""What can go wrong with a process's CUDA state: each kind by what is to be done about it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmux.server._effect_errors import EffectError
from llmux.server.cuda import _results
from llmux.server.cuda._results import Result, State

INITIALIZE = "initialize CUDA for"
_NOT_STARTED = "Error initializing CUDA"
_QUOTED = re.compile(r'"([^"\n]*)"')
_TOLD = 300
"""Characters of what a program says that are kept."""


@dataclass(eq=False)
class CudaError(EffectError):
    """Root of what NVIDIA's driver refuses. `action` is an infinitive; `result` is the CUresult's name, `words` are its own."""

    action: str
    pid: int
    result: str
    words: str

    def what(self) -> str:
        return f"NVIDIA's driver could not {self.action} process {self.pid}: {self.result} ({self.words})"


class CudaDriverMissing(CudaError):
    """There is no driver, or no GPU that it may use here."""


class CudaDriverTooOld(CudaError):
    """The driver has no checkpoint API."""


class CudaNotPermitted(CudaError):
    """A right is lacking, or the GPU's persistence mode."""


class NoCudaState(CudaError):
    """The process is gone, or uses no GPU."""


class CudaStateIllegal(CudaError):
    """The process is in a state that does not allow this."""


class CudaLockTimedOut(CudaError):
    """Work that had been given to the GPU was not done in time; the process runs on."""


class CudaNotSupported(CudaError):
    """The process uses something that the driver cannot move out."""


class GpuMemoryFull(CudaError):
    """There is not enough free memory on the GPU to come back."""


class CudaFailed(CudaError):
    """Any other error of the driver."""


@dataclass(eq=False)
class CudaStateLost(EffectError):
    """A process whose CUDA state nothing brings back: it is to be ended."""

    pid: int
    state: str

    def what(self) -> str:
        return f"the CUDA state of process {self.pid} is {self.state}"


@dataclass(eq=False)
class GpusDiffer(EffectError):
    """What has left some GPUs cannot come back to those that are here."""

    reason: str

    def what(self) -> str:
        return f"the engine cannot come back on the GPUs that are here: {self.reason}"


@dataclass(eq=False)
class DeviceMapUnsupported(EffectError):
    """Other GPUs than before are here, and the driver restores on the same only."""

    driver: str
    pairs: str

    def what(self) -> str:
        return (
            f"NVIDIA's driver {self.driver} takes no device map, and the engine had other GPUs: {self.pairs}"
        )


@dataclass(eq=False)
class HostMemoryLacking(EffectError):
    """What is on the GPUs does not fit into the host's memory. In bytes."""

    needed: int
    available: int

    def what(self) -> str:
        return f"{_gib(self.needed)} on the GPUs do not fit into the {_gib(self.available)} of host memory that are left"


_OLD = "Install NVIDIA's driver 570 or newer"
TOO_OLD_FOR_MAPS = "Install NVIDIA's driver 580 or newer, or give the model the GPUs that it had"
_RIGHTS = "Run llmux as root, and switch persistence mode on: nvidia-smi -pm 1"
_KINDS: dict[Result, tuple[type[CudaError], str]] = {
    _results.NO_LIBRARY: (
        CudaDriverMissing,
        "Install NVIDIA's driver; in Docker give the container its libraries: --gpus all",
    ),
    _results.NO_DEVICE: (
        CudaDriverMissing,
        "Give the container a GPU (--gpus all), and look at CUDA_VISIBLE_DEVICES",
    ),
    _results.STUB_LIBRARY: (
        CudaDriverMissing,
        "libcuda.so.1 is the toolkit's stub: put the driver's own first in LD_LIBRARY_PATH",
    ),
    _results.NO_API: (CudaDriverTooOld, _OLD),
    _results.NO_MAP: (CudaDriverTooOld, TOO_OLD_FOR_MAPS),
    _results.NOT_PERMITTED: (CudaNotPermitted, _RIGHTS),
    _results.OPERATING_SYSTEM: (
        CudaNotPermitted,
        f"{_RIGHTS}. A process whose restore has failed once cannot be restored again: end it",
    ),
    _results.INVALID_VALUE: (
        NoCudaState,
        "`nvidia-smi` says which processes use a GPU; a device map has to name each GPU that was there, and one of its kind here",
    ),
    _results.NOT_INITIALIZED: (NoCudaState, "`nvidia-smi` says which processes use a GPU"),
    _results.ILLEGAL_STATE: (
        CudaStateIllegal,
        "`llmux-cuda-checkpoint --get-state --pid PID` says its state: running, locked, checkpointed, and back the same way",
    ),
    _results.NOT_READY: (
        CudaLockTimedOut,
        "The GPU was still at work: ask again when the engine rests. A collective of several GPUs may wait for one that is locked already",
    ),
    _results.NOT_SUPPORTED: (
        CudaNotSupported,
        "The driver does not move MIG, MPS, managed (UVM) memory nor, before 610, memory shared between processes; use 'checkpoint' or 'stop' without them",
    ),
    _results.OUT_OF_MEMORY: (
        GpuMemoryFull,
        "Free memory on the GPU; a process whose restore has failed so may not come back (end it then)",
    ),
}


def error_of(action: str, pid: int, result: Result) -> CudaError:
    """Return the error that a result other than success is."""
    kind, hint = _KINDS.get(result, (CudaFailed, "See NVIDIA's documentation of CUresult, and dmesg for Xid"))
    if action == INITIALIZE and kind is NoCudaState:
        kind, hint = CudaFailed, "The driver does not start: `nvidia-smi` and dmesg say more"
    return kind(action, pid, result.name, result.words, hint=hint)


def error_said(action: str, pid: int, text: str) -> CudaError:
    """Return the error that cuda-checkpoint has told: CUresult's words in quotes, at the end of a line."""
    quoted = _QUOTED.search(text)
    started = not text.startswith(_NOT_STARTED)
    words = quoted[1] if quoted else text[:_TOLD]
    return error_of(action if started else INITIALIZE, pid, _results.by_words(words))


def no_room(pid: int, uuid: str, needed: int, free: int) -> GpuMemoryFull:
    """Return the error of a process that would not fit on its GPU."""
    words = f"it had {_gib(needed)} on {uuid}, where {_gib(free)} are free"
    return GpuMemoryFull("restore", pid, "no room", words, hint="`nvidia-smi` says who has the rest")


def lost(pid: int, state: State) -> CudaStateLost:
    """Return the error of a process that nothing brings back."""
    return CudaStateLost(pid, state.word, hint="The engine has to be started again")


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
