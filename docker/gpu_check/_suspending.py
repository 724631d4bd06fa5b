"""Processes leave their GPUs and come back, many times: each time their memory is to be gone, and then to be as it was."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpu_check import _nvml
from gpu_check._children import LLMUX_CUDA_CHECKPOINT, PROGRAMS, CaseFailed, Child, child, output
from gpu_check._results import Numbers, Round
from gpu_check._task import Task

_LOCK_MS = "30000"
_ACTION = 900.0
_STARTS = 300.0
_FREED = 0.95
"""Of the bytes that a process is known to hold, what NVML has to see freed; the context's own come on top."""
_FREED_WITHIN = 10.0
_COPIED = 256 << 20


@dataclass(frozen=True)
class Program:
    """What speaks cuda-checkpoint's command line. Raises CaseFailed."""

    argv: tuple[str, ...] = LLMUX_CUDA_CHECKPOINT

    def state(self, pid: int) -> str:
        return output((*self.argv, "--get-state", "--pid", str(pid)), 120)

    def suspend(self, pid: int) -> None:
        self._act("lock", pid, "--timeout", _LOCK_MS)
        self._act("checkpoint", pid)

    def resume(self, pid: int, *device_map: str) -> None:
        self._act("restore", pid, *device_map)
        self._act("unlock", pid)

    def _act(self, action: str, pid: int, *more: str) -> None:
        output((*self.argv, "--action", action, "--pid", str(pid), *more), _ACTION)


@dataclass(frozen=True)
class Holder:
    """A process that holds memory on a GPU and tells of it in a file (programs/reporting.py)."""

    child: Child
    report: Path

    @property
    def pid(self) -> int:
        return self.child.pid

    def told(self) -> dict[str, object]:
        return dict(json.loads(self.report.read_text("utf-8")))

    def rounds(self) -> int:
        return int(str(self.told()["rounds"])) if self.report.exists() else 0

    def looks(self) -> dict[str, object]:
        """Return what it tells once it has looked at all of its memory anew. Raises CaseFailed where something is lost."""
        seen = self.rounds()
        # The round that is under way may have begun before; the next one has not.
        self.child.until(lambda: self.rounds() >= seen + 2, "its next look at all of its memory", _STARTS)
        told = self.told()
        if told["lost"]:
            raise self.child.fail(str(told["lost"]))
        return told


@contextmanager
def holder(python: str, program: str, place: Path, size: int, *more: str) -> Iterator[Holder]:
    """Start one, and give it once it has looked at its memory for the first time. Raises CaseFailed."""
    report = place / f"{program}.json"
    argv = (python, str(PROGRAMS / program), str(report), str(size), *more)
    with child(argv, place / f"{program}.log") as started:
        held = Holder(started, report)
        started.until(lambda: held.rounds() > 0, "it holds its memory", _STARTS)
        yield held


def bare(task: Task) -> Numbers:
    """Suspend a process that needs the driver's library alone. Raises CaseFailed, as all of these do."""
    return _held_often(task, sys.executable, "holder.py", Program())


def by_nvidias_program(task: Task) -> Numbers:
    return _held_often(task, sys.executable, "holder.py", Program((task.facts.programs.cuda_checkpoint,)))


def with_torch(task: Task) -> Numbers:
    return _held_often(task, task.facts.programs.torch, "torch_holder.py", Program())


def _held_often(task: Task, python: str, program: str, by: Program) -> Numbers:
    with holder(python, program, task.place, task.size) as held:
        wanted = held.looks()["checksum"]
        return often(task, held.pid, by, lambda: _same(held, wanted))


def _same(held: Holder, wanted: object) -> None:
    if (found := held.looks()["checksum"]) != wanted:
        raise held.child.fail(f"its memory has changed: the checksum is {found}, not {wanted}")


def often(task: Task, pid: int, by: Program, check: Callable[[], None]) -> Numbers:
    """Suspend and resume a process; `check` raises CaseFailed where it is not as it was."""
    done: list[Round] = []
    freed: list[int] = []
    for _ in range(task.rounds):
        before = _nvml.used_on(task.uuid)
        started = _timed(lambda: by.state(pid))
        out = _timed(lambda: by.suspend(pid))
        freed.append(wait_for_freed(task.uuid, before, task.size))
        if (state := by.state(pid)) != "checkpointed":
            raise CaseFailed(f"after a checkpoint the driver calls the process {state!r}")
        back = _timed(lambda: by.resume(pid))
        check()
        done.append(Round(out, back, 2 * started))  # two calls each way, with the start of a program in each
    return Numbers(task.size, tuple(done), min(freed))


def wait_for_freed(uuid: str, before: int, size: int) -> int:
    """Return what NVML sees freed of `before`, once that is what it has to be. Raises CaseFailed."""
    end = time.monotonic() + _FREED_WITHIN
    while (freed := before - _nvml.used_on(uuid)) < _FREED * size:
        if time.monotonic() > end:
            raise CaseFailed(f"NVML sees {freed:,} bytes freed of {size:,} that were held")
        time.sleep(0.05)
    return freed


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def on_the_other(task: Task) -> Numbers:
    """Have a process come back on the other GPU each time, there and here in turn."""
    here, there = (gpu.uuid for gpu in task.facts.driver.gpus[:2])
    by = Program()
    done: list[Round] = []
    with holder(sys.executable, "holder.py", task.place, task.size) as held:
        wanted = held.looks()["checksum"]
        for _ in range(task.rounds):
            others = [gpu.uuid for gpu in task.facts.driver.gpus[2:]]
            done.append(_moved(held, by, task.size, device_map(here, there, others)))
            _same(held, wanted)
            here, there = there, here
    return Numbers(task.size, tuple(done))


def device_map(here: str, there: str, others: Iterable[str]) -> Mapping[str, str]:
    """Return where each GPU's content goes: all that the process sees have to be named, those too that it has nothing on."""
    return {here: there, there: here, **{each: each for each in others}}


def _moved(held: Holder, by: Program, size: int, moves: Mapping[str, str]) -> Round:
    here, there = list(moves)[:2]
    before, elsewhere = _nvml.used_on(here), _nvml.used_on(there)
    started = _timed(lambda: by.state(held.pid))
    out = _timed(lambda: by.suspend(held.pid))
    wait_for_freed(here, before, size)
    pairs = ",".join(f"{old}={new}" for old, new in moves.items())
    back = _timed(lambda: by.resume(held.pid, "--device-map", pairs))
    if (came := _nvml.used_on(there) - elsewhere) < _FREED * size:
        raise held.child.fail(f"{came:,} bytes came to {there}, of {size:,}")
    return Round(out, back, 2 * started)


def bandwidth(task: Task) -> Numbers:
    """Measure what the way to the GPU gives."""
    size = min(task.size, _COPIED)
    said = json.loads(output((sys.executable, str(PROGRAMS / "bandwidth.py"), str(size)), 300))
    return Numbers(size, to_gpu=said["to_gpu"], to_host=said["to_host"])
