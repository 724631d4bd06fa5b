"""What NVIDIA's driver answers: the states of a process, and CUresult's numbers, names and words. Pure.

Source: cuda.h of CUDA 12.8 to 13; the words are those of cuGetErrorString, which cuda-checkpoint prints.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """CUprocessState: what has become of a process's CUDA state."""

    RUNNING = 0
    LOCKED = 1
    """Its calls that would change something on a GPU wait."""
    CHECKPOINTED = 2
    """Its GPU memory is in host memory, and it refers to no GPU."""
    FAILED = 3
    """A checkpoint or a restore broke it; nothing brings it back."""
    CHECKPOINTING = 4
    RESTORING = 5

    @property
    def word(self) -> str:
        """Return it as cuda-checkpoint prints it."""
        return self.name.lower()


def state_of(word: str) -> State | None:
    """Return the state of this word."""
    return next((state for state in State if state.word == word), None)


@dataclass(frozen=True)
class Result:
    """A CUresult."""

    number: int
    name: str
    words: str


MAPS_SINCE = 13000
"""CUDA's version, as the driver says it, that takes a device map: driver 580."""

NO_LIBRARY = Result(-1, "no driver", "libcuda.so.1 cannot be loaded")
NO_API = Result(-2, "old driver", "the driver has no checkpoint API")
NO_MAP = Result(-3, "old driver", "the driver takes no device map")
SUCCESS = Result(0, "CUDA_SUCCESS", "no error")
INVALID_VALUE = Result(1, "CUDA_ERROR_INVALID_VALUE", "invalid argument")
OUT_OF_MEMORY = Result(2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory")
NOT_INITIALIZED = Result(3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error")
STUB_LIBRARY = Result(34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library")
NO_DEVICE = Result(100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected")
OPERATING_SYSTEM = Result(
    304, "CUDA_ERROR_OPERATING_SYSTEM", "OS call failed or operation not supported on this OS"
)
ILLEGAL_STATE = Result(
    401, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"
)
NOT_READY = Result(600, "CUDA_ERROR_NOT_READY", "device not ready")
NOT_PERMITTED = Result(800, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted")
NOT_SUPPORTED = Result(801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported")
UNKNOWN = Result(999, "CUDA_ERROR_UNKNOWN", "unknown error")

RESULTS = (
    NO_LIBRARY,
    NO_API,
    NO_MAP,
    SUCCESS,
    INVALID_VALUE,
    OUT_OF_MEMORY,
    NOT_INITIALIZED,
    Result(4, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"),
    STUB_LIBRARY,
    Result(46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"),
    NO_DEVICE,
    Result(101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"),
    OPERATING_SYSTEM,
    ILLEGAL_STATE,
    NOT_READY,
    NOT_PERMITTED,
    NOT_SUPPORTED,
    Result(802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"),
    Result(
        803,
        "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        "system has unsupported display driver / cuda driver combination",
    ),
    UNKNOWN,
)
"""Those that the checkpoint API and cuInit can answer, and our own for where there is nobody to answer."""


def by_number(number: int) -> Result:
    """Return the result of this number, also of one that is not listed."""
    listed = (result for result in RESULTS if result.number == number)
    return next(listed, Result(number, f"CUresult {number}", "an error that llmux does not know"))


def by_words(words: str) -> Result:
    """Return the result that cuda-checkpoint means by these words, also by some that are not listed."""
    listed = (result for result in RESULTS if result.words == words)
    return next(listed, Result(UNKNOWN.number, "an error that llmux does not know", words))
