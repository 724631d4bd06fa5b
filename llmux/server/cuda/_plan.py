"""What is done to the processes of an engine, in the order that works for several: states to steps. Pure.

All are locked before one is checkpointed, and all restored before one is unlocked: else one that still runs waits on its GPU for another that has left its own
(a collective of several GPUs), and never comes to an end. Back it goes in reverse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmux.server.cuda import _results
from llmux.server.cuda._command import Operation
from llmux.server.cuda._results import State
from llmux.server.cuda.errors import error_of, lost


@dataclass(frozen=True)
class Step:
    """One call of the driver, and why."""

    operation: Operation
    pid: int
    why: str

    def __str__(self) -> str:
        return f"{self.operation} {self.pid} ({self.why})"


_ORDER = "before any process of the engine is checkpointed"
_BACK = "before any process of the engine is unlocked"
_AT_WORK = frozenset({State.CHECKPOINTING, State.RESTORING})


def suspend(states: Mapping[int, State]) -> tuple[Step, ...]:
    """Return what takes all of them from the GPUs; the processes are in the order of the tree.

    Raises CudaStateLost, and CudaStateIllegal where somebody else is at work on one.
    """
    _check("lock", states)
    running = [pid for pid, state in states.items() if state is State.RUNNING]
    there = [pid for pid, state in states.items() if state is not State.CHECKPOINTED]
    return (
        *(Step(Operation.LOCK, pid, _ORDER) for pid in running),
        *(Step(Operation.CHECKPOINT, pid, "all are locked") for pid in there),
    )


def resume(states: Mapping[int, State]) -> tuple[Step, ...]:
    """Return what makes all of them run again, wherever each has come to. Raises as `suspend` does."""
    _check("restore", states)
    backwards = list(reversed(tuple(states.items())))
    return (
        *(Step(Operation.RESTORE, pid, _BACK) for pid, state in backwards if state is State.CHECKPOINTED),
        *(
            Step(Operation.UNLOCK, pid, "all are on their GPUs")
            for pid, state in backwards
            if state is not State.RUNNING
        ),
    )


def _check(action: str, states: Mapping[int, State]) -> None:
    for pid, state in states.items():
        if state is State.FAILED:
            raise lost(pid, state)
        if state in _AT_WORK:
            raise error_of(action, pid, _results.ILLEGAL_STATE)
