"""The CUDA state of one engine's processes: taken from the GPUs, all of it or nothing, and given back.

    users(pid)                           the processes at and below this one that have loaded the driver's library
    had = await suspend(settings, pids)  what they had on the GPUs is in host memory; raises, having given it back, where that fails
    await resume(settings, pids, had)    they run on, wherever each has come to, on the GPUs that are theirs now
    await mapped(settings, had)          the device map for that; raises where there is none

The driver is called by another process, NVIDIA's cuda-checkpoint or ours (`_calls.py`). It is llmux's child, in llmux's own namespaces, and names
processes by their ids there: as CRIU's plugin does that dumps a container from outside.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from llmux.server import _memory
from llmux.server._effect_errors import EffectError, TookTooLong
from llmux.server._gpu_names import VISIBLE
from llmux.server._nvml import asked
from llmux.server.cuda import _here, _plan, _room
from llmux.server.cuda._calls import OURS, Call, calling
from llmux.server.cuda._command import Operation, Pair
from llmux.server.cuda._plan import Step
from llmux.server.cuda._results import State, state_of
from llmux.server.cuda.devices import Devices, device_map, moved, words_of
from llmux.server.cuda.errors import (
    TOO_OLD_FOR_MAPS,
    DeviceMapUnsupported,
    HostMemoryLacking,
    NoCudaState,
    error_said,
    no_room,
)

log = logging.getLogger(__name__)

_Told = TypeVar("_Told")

PROGRAM = "cuda-checkpoint"
_ASK_TIMEOUT = 60.0
_NVML = 30.0
"""Seconds: a driver without persistence mode sets each GPU up anew for whoever asks."""
_LIBRARY = "libcuda.so"
_FREED_WITHIN = 10.0
"""Seconds for a GPU's memory to be free again that another engine has just left."""


def program_of(configured: str | None) -> tuple[str, ...]:
    """Return the program that calls the driver: the configured one, else NVIDIA's where PATH has it, else ours."""
    found = shutil.which(configured or PROGRAM)
    return (found,) if found else OURS


@dataclass(frozen=True)
class CudaSettings:
    """How processes are suspended. Times in seconds."""

    program: tuple[str, ...] = OURS
    lock_timeout: float = 30.0
    """For the work that the GPUs still have; an engine has been drained before."""
    step_timeout: float = 900.0
    """For one process to be moved out or back: hundreds of GB at some GB a second."""
    on_gpus: Callable[[Collection[int]], Mapping[str, int]] = _room.on_gpus
    free_on_gpus: Callable[[], Mapping[str, int]] = _room.free_on_gpus
    host_memory: Callable[[], int] = _room.host_memory
    here: Callable[[], Devices] = Devices
    """The GPUs that are here for the engine."""
    without_maps: Callable[[], str] = _here.without_maps
    """The driver's version where that takes no device map."""


def settings_for(configured: str | None, environ: Mapping[str, str]) -> CudaSettings:
    """Return the settings for an engine with this environment; `configured` is the program's path."""
    return CudaSettings(program_of(configured), here=partial(_here.devices, environ.get(VISIBLE)))


def users(pid: int, proc: Path = Path("/proc")) -> tuple[int, ...]:
    """Return the processes of this tree that have loaded the driver's library, suspended or not; parents first."""
    return tuple(each for each in _memory.tree(pid, proc) if _has_loaded(proc / str(each) / "maps"))


def _has_loaded(maps: Path) -> bool:
    try:
        with maps.open(encoding="utf-8", errors="replace") as lines:
            return any(_LIBRARY in line for line in lines)
    except OSError:  # it has ended
        return False


async def suspend(settings: CudaSettings, pids: Iterable[int]) -> Devices:
    """Take the CUDA state of these processes from the GPUs; return which they had, and what on each as far as it is known.

    Raises NoCudaState where none has any, HostMemoryLacking before anything is done, and the driver's errors; all run on then,
    but for what a second error says, which is the first one's cause.
    """
    async with calling(settings.program) as call:
        states = await _states(call, pids)
        taken = await _nvml(partial(settings.on_gpus, states.keys()))
        await _check_host_memory(settings, sum(taken.values()))
        had = replace(await _nvml(settings.here), taken=taken)
        try:
            await _carry_out(settings, call, _plan.suspend(states))
        except EffectError as error:
            log.warning("CUDA: %s; what has been suspended is resumed", error)
            await _resume(settings, call, states, _Return())
            raise
    with suppress(TookTooLong):
        if still := await _nvml(partial(settings.on_gpus, states.keys())):
            log.warning("CUDA: NVML still sees memory of processes that are suspended: %s", still)
    return had


@dataclass(frozen=True)
class _Return:
    """Where processes come back."""

    needed: Mapping[str, int] = field(default_factory=dict)
    """What they need of each GPU, in bytes by its UUID, as far as it is known."""
    pairs: tuple[Pair, ...] = ()


async def resume(settings: CudaSettings, pids: Iterable[int], had: Devices | None = None) -> None:
    """Have these processes run on, wherever each has come to; those without CUDA state are left alone.

    `had` is what they had, where that is known. Raises GpusDiffer, DeviceMapUnsupported and GpuMemoryFull before anything is
    done, CudaStateLost and the driver's errors.
    """
    pairs = await mapped(settings, had)
    if pairs:
        log.info("CUDA: the engine comes back on other GPUs: %s", words_of(pairs))
    back = _Return(moved(had.taken, pairs), pairs) if had else _Return()
    # NVIDIA's program may be older than the driver, and know of no map.
    async with calling(OURS if pairs else settings.program) as call:
        await _resume(settings, call, pids, back)


async def mapped(settings: CudaSettings, had: Devices | None) -> tuple[Pair, ...]:
    """Return the map by which what has left these GPUs comes back to those that are here; none where they are the same.

    Raises GpusDiffer, DeviceMapUnsupported.
    """
    if had is None:
        return ()
    pairs = device_map(had, await _nvml(settings.here))
    if pairs and (driver := await _nvml(settings.without_maps)):
        raise DeviceMapUnsupported(driver, words_of(pairs), hint=TOO_OLD_FOR_MAPS)
    return pairs


def _nvml(ask: Callable[[], _Told]) -> Awaitable[_Told]:
    """Ask NVML. Raises TookTooLong."""
    return asked(ask, _NVML)


async def _resume(settings: CudaSettings, call: Call, pids: Iterable[int], back: _Return) -> None:
    try:
        states = await _states(call, pids)
    except NoCudaState:
        return
    if State.CHECKPOINTED in states.values():
        await _wait_for_gpu_memory(settings, next(iter(states)), back.needed)
    await _carry_out(settings, call, _plan.resume(states), back.pairs)


async def _states(call: Call, pids: Iterable[int]) -> Mapping[int, State]:
    """Ask all before one is locked: the driver may answer nothing about another then (cuda-checkpoint's issue 30)."""
    states: dict[int, State] = {}
    without = None
    for pid in pids:
        try:
            states[pid] = await _state(call, pid)
        except NoCudaState as error:
            without = error
    if not states:
        raise without or NoCudaState(
            "suspend", 0, "no process", "none has loaded libcuda", hint="Use 'keep_running' or 'checkpoint'"
        )
    return states


async def _state(call: Call, pid: int) -> State:
    said = await _said(call, Operation.GET_STATE, pid, ("--get-state",), _ASK_TIMEOUT)
    state = state_of(said)
    if state is None:
        raise error_said("read the state of", pid, f'"{said}"')
    return state


async def _carry_out(
    settings: CudaSettings, call: Call, steps: Iterable[Step], pairs: tuple[Pair, ...] = ()
) -> None:
    more: dict[Operation, tuple[str, ...]] = {
        Operation.LOCK: ("--timeout", str(int(settings.lock_timeout * 1000)))
    }
    if pairs:
        more[Operation.RESTORE] = ("--device-map", words_of(pairs))
    for step in steps:
        began = time.monotonic()
        words = ("--action", step.operation.value, *more.get(step.operation, ()))
        await _said(call, step.operation, step.pid, words, settings.step_timeout)
        log.info("CUDA: %s in %.2f s", step, time.monotonic() - began)


async def _said(call: Call, operation: Operation, pid: int, words: Sequence[str], seconds: float) -> str:
    """Make a call and return what is said. Raises what the driver refuses."""
    try:
        said = await call((*words, "--pid", str(pid)), seconds)
    except TookTooLong as error:
        error.hint = "The driver hangs: processes that share GPU memory (NCCL) may wait for each other; see docs/gpu.md"
        raise
    if said.code != 0:
        raise error_said(operation.value, pid, said.text)
    return said.text


async def _check_host_memory(settings: CudaSettings, needed: int) -> None:
    available = await asyncio.to_thread(settings.host_memory)
    if needed > available:
        hint = "Use weights 'discard', so that less is on the GPUs, or 'checkpoint' or 'stop'; or let other models sleep deeper"
        raise HostMemoryLacking(needed, available, hint=hint)
    if not needed:
        log.warning("CUDA: NVML does not say what the processes have on GPUs: host memory is not checked")


async def _wait_for_gpu_memory(settings: CudaSettings, pid: int, needed: Mapping[str, int]) -> None:
    """Return once there is room: a restore that finds none breaks the process for good (cuda-checkpoint's issue 44)."""
    until = time.monotonic() + _FREED_WITHIN
    while lacking := _lacking(needed, await _nvml(settings.free_on_gpus)):
        if time.monotonic() > until:
            raise no_room(pid, *lacking)
        await asyncio.sleep(0.25)


def _lacking(needed: Mapping[str, int], free: Mapping[str, int]) -> tuple[str, int, int] | None:
    """Return the first GPU that has too little, with what is needed and what is free."""
    found = ((uuid, size, free[uuid]) for uuid, size in needed.items() if free.get(uuid, size) < size)
    return next(found, None)
