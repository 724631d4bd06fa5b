"""Weights: a file in the safetensors format, and the memory that holds them, the worker's or a GPU's.

The format (8 bytes of header length, a JSON header, then raw little-endian tensors) is described at
https://github.com/huggingface/safetensors#format; only F32 is used here.
"""

import json
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmux.tiny_engine._config import Shape
from llmux.tiny_engine._device import Device, Host, Memory
from llmux.tiny_engine.errors import ModelDamagedError, NotReadyError

Array = NDArray[np.float32]

_LENGTH = struct.Struct("<Q")
_NOT_LOADED = NotReadyError(
    "weights are not loaded", 'POST /wake_up?tags=weights, then /collective_rpc {"method": "reload_weights"}'
)


class Tensors(NamedTuple):
    embedding: Array
    memory: Array
    hidden_weight: Array
    hidden_bias: Array
    output_weight: Array
    output_bias: Array


def write_tensors(path: Path, tensors: Mapping[str, Array]) -> None:
    header: dict[str, object] = {}
    offset = 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": "F32",
            "shape": tensor.shape,
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    encoded = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(_LENGTH.pack(len(encoded)) + encoded)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor, dtype="<f4").tobytes())


def read_tensors(path: Path, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Read a file that holds exactly the tensors of these dimensions, in this order. Raises ModelDamagedError."""
    try:
        with path.open("rb") as file:
            _check_header(path, file, wanted)
            data = file.read()
    except OSError as error:
        raise ModelDamagedError(path, f"cannot be read: {error.strerror}") from error
    if len(data) != (size := _bytes(wanted)):
        raise ModelDamagedError(path, f"is cut short: {len(data)} of {size} bytes of tensors")
    return dict(zip(wanted, _arrays(data, wanted), strict=True))


@dataclass(frozen=True)
class _Resident:
    """The weights are where the network reads them."""

    memory: Memory


@dataclass(frozen=True)
class _Offloaded:
    """Level 1: a copy is kept aside, the network's memory is given back."""

    copy: mmap.mmap


@dataclass(frozen=True)
class _Dropped:
    """Level 2: nothing is kept."""


@dataclass(frozen=True)
class _Empty:
    """Awake after level 2: memory is there, its content is not."""

    memory: Memory


class Weights:
    """The weights' memory, of their exact size.

    Closing it raises BufferError while any array still looks into it: a drop that returns has dropped.
    """

    def __init__(self, path: Path, shape: Shape, device: Device | None = None) -> None:
        self._path = path
        self._device = device or Host()
        self._shape = shape
        self._size = _bytes(shape.tensors())
        self._state: _Resident | _Offloaded | _Dropped | _Empty = _Resident(self._read())

    @property
    def asleep(self) -> bool:
        return isinstance(self._state, _Offloaded | _Dropped)

    @property
    def loaded(self) -> bool:
        return isinstance(self._state, _Resident)

    @property
    def resident_bytes(self) -> int:
        return 0 if self.asleep else self._size

    def tensors(self) -> Tensors:
        """View the tensors; let go of the views before a sleep. Raises NotReadyError, DeviceError."""
        match self._state:
            case _Resident(memory):
                return Tensors(*_arrays(memory.view(), self._shape.tensors()))
            case _:
                raise _NOT_LOADED

    def offload(self) -> None:
        match self._state:
            case _Resident(memory):
                self._state = _Offloaded(memory.aside())
                memory.close()
            case _Empty():
                self.drop()
            case _Offloaded() | _Dropped():
                pass

    def drop(self) -> None:
        state, self._state = self._state, _Dropped()
        if isinstance(state, _Resident | _Empty):
            state.memory.close()

    def wake(self) -> None:
        match self._state:
            case _Offloaded(copy):
                memory = self._device.allocate(self._size)
                memory.put_back(copy)
                self._state = _Resident(memory)
                copy.close()
            case _Dropped():
                self._state = _Empty(self._device.allocate(self._size))
            case _Resident() | _Empty():
                pass

    def reload(self) -> None:
        """Read the file again; where that fails no weights are loaded. Raises NotReadyError while asleep, ModelDamagedError, DeviceError."""
        match self._state:
            case _Resident(memory) | _Empty(memory):
                self._state = _Empty(memory)
                self._fill(memory)
                self._state = _Resident(memory)
            case _Offloaded() | _Dropped():
                raise NotReadyError("the weights are asleep", "POST /wake_up?tags=weights first")

    def check(self, *, thorough: bool) -> None:
        """Look at what is on the device, as far as there are weights. Raises DeviceError."""
        if isinstance(self._state, _Resident):
            self._state.memory.check(thorough=thorough)

    def _read(self) -> Memory:
        memory = self._device.allocate(self._size)
        try:
            self._fill(memory)
        except BaseException:
            memory.close()
            raise
        return memory

    def _fill(self, memory: Memory) -> None:
        try:
            with self._path.open("rb") as file:
                _check_header(self._path, file, self._shape.tensors())
                read = memory.fill(file)
        except OSError as error:
            raise ModelDamagedError(self._path, f"cannot be read: {error.strerror}") from error
        if read != self._size:
            raise ModelDamagedError(self._path, f"is cut short: {read} of {self._size} bytes of tensors")


def _check_header(path: Path, file: BinaryIO, tensors: Mapping[str, tuple[int, ...]]) -> None:
    """Leave `file` at the first tensor; raises ModelDamagedError unless it holds exactly these, in their order."""
    start = file.read(_LENGTH.size)
    length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
    if not 0 < length <= 1 << 20:
        raise ModelDamagedError(path, "does not begin with a safetensors header")
    try:
        header = json.loads(file.read(length))
        held = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelDamagedError(path, f"has a damaged header: {error!r}") from error
    wanted = {name: ("F32", dimensions) for name, dimensions in tensors.items()}
    if list(held.items()) != list(wanted.items()):
        raise ModelDamagedError(path, f"holds {held}, but config.json asks for {wanted}")


def _bytes(tensors: Mapping[str, tuple[int, ...]]) -> int:
    return 4 * sum(int(np.prod(dimensions)) for dimensions in tensors.values())


def _arrays(memory: mmap.mmap | bytes, tensors: Mapping[str, tuple[int, ...]]) -> Iterator[Array]:
    offset = 0
    for dimensions in tensors.values():
        count = int(np.prod(dimensions))
        yield np.frombuffer(memory, dtype="<f4", count=count, offset=offset).reshape(dimensions)
        offset += 4 * count
