"""As much of NVIDIA's driver API as memory on a GPU needs, through libcuda.so.1. Standard library only: whoever has the driver can use it.

Source: NVIDIA's documentation of the CUDA Driver API; `_v2` is in the names that cuda.h gives the calls since CUDA 3.2.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

LIBRARY: Final = "libcuda.so.1"
_SUCCESS: Final = 0
_CALLS: Final = (
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetUuid_v2",
    "cuDeviceTotalMem_v2",
    "cuDevicePrimaryCtxRetain",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuMemGetInfo_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemcpyHtoD_v2",
    "cuMemcpyDtoH_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuGetErrorName",
)


class DriverError(Exception):
    """The driver is not there, or refuses a call. `name` is the CUresult's, `number` its own; 0 where there is no driver."""

    def __init__(self, call: str, number: int, name: str) -> None:
        super().__init__(f"{call}: {name}" + (f" ({number})" if number else ""))
        self.call = call
        self.number = number
        self.name = name


class Driver:
    """The library, initialized. Each method raises DriverError."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise DriverError("loading the driver", 0, f"{LIBRARY} cannot be loaded: {error}") from error
        if missing := [call for call in _CALLS if not hasattr(self._library, call)]:
            raise DriverError("loading the driver", 0, f"{LIBRARY} has no {missing[0]}")
        self.call("cuInit", ctypes.c_uint(0))

    def call(self, name: str, *arguments: object) -> None:
        """Make a call of the driver."""
        function: Callable[..., int] = getattr(self._library, name)
        if (result := function(*arguments)) != _SUCCESS:
            raise DriverError(name, result, self._name_of(result))

    def _name_of(self, result: int) -> str:
        name = ctypes.c_char_p()
        known = self._library.cuGetErrorName(ctypes.c_int(result), ctypes.byref(name)) == _SUCCESS
        return name.value.decode("ascii", "replace") if known and name.value else f"CUresult {result}"

    def version(self) -> int:
        """Return the newest CUDA that it knows: 12080 for 12.8."""
        number = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(number))
        return number.value

    def gpus(self) -> int:
        """Return how many GPUs this process may use."""
        number = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(number))
        return number.value


class Gpu:
    """A GPU and this process's primary context on it, current in the calling thread. Sizes in bytes; each method raises DriverError."""

    def __init__(self, driver: Driver, ordinal: int = 0) -> None:
        self._call = driver.call
        self._device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(self._device), ctypes.c_int(ordinal))
        context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._call("cuCtxSetCurrent", context)

    def name(self) -> str:
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, ctypes.c_int(len(text)), self._device)
        return text.value.decode("utf-8", "replace")

    def uuid(self) -> str:
        """Return its UUID as nvidia-smi prints it; of the GPU that the process is on by now."""
        sixteen = (ctypes.c_ubyte * 16)()
        self._call("cuDeviceGetUuid_v2", sixteen, self._device)
        return f"GPU-{UUID(bytes=bytes(sixteen))}"

    def memory(self) -> tuple[int, int]:
        """Return what is free and what there is in all."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def allocate(self, size: int) -> int:
        """Return the address of new memory."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def write(self, address: int, host: int, size: int) -> None:
        """Copy from an address in host memory."""
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), ctypes.c_void_p(host), ctypes.c_size_t(size))

    def read(self, host: int, address: int, size: int) -> None:
        """Copy to an address in host memory."""
        self._call("cuMemcpyDtoH_v2", ctypes.c_void_p(host), ctypes.c_uint64(address), ctypes.c_size_t(size))

    def synchronize(self) -> None:
        self._call("cuCtxSynchronize")

    @contextmanager
    def pinned(self, size: int) -> Iterator[int]:
        """Give host memory that the GPU reads and writes itself, by its address."""
        address = ctypes.c_void_p()
        self._call("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(size), ctypes.c_uint(0))
        try:
            yield address.value or 0
        finally:
            self._call("cuMemFreeHost", address)
