"""How long a replica's moves take: a guess as long as nothing has been measured, then what was. Pure; in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmux.server._model import Process
from llmux.server.scheduling.measured import Measured

_WAKES = {
    Process.KEEP_RUNNING: 1.0,
    Process.CUDA_SUSPEND: 5.0,
    Process.CHECKPOINT: 5.0,
    Process.STOP: 60.0,
}
_SLEEPS = {
    Process.KEEP_RUNNING: 1.0,
    Process.CUDA_SUSPEND: 5.0,
    Process.CHECKPOINT: 5.0,
    Process.STOP: 2.0,
}


@dataclass(frozen=True)
class Takes:
    """Seconds by what a sleep does, or has done, with the process; a cold start is a wake from a stop."""

    wake: Mapping[Process, float] = field(default_factory=lambda: _WAKES)
    sleep: Mapping[Process, float] = field(default_factory=lambda: _SLEEPS)
    parts: Mapping[str, float] = field(default_factory=dict)
    """What the phases of moves take in the mean, by `part_of`; those alone that were measured."""


def wake_of(process: Process) -> str:
    """Return the name that a wake from such a sleep is measured under."""
    return f"wake:{process.value}"


def sleep_of(process: Process) -> str:
    """Return the name that such a sleep is measured under."""
    return f"sleep:{process.value}"


def part_of(move: str, phase: str) -> str:
    """Return the name that a phase of a move is measured under."""
    return f"{move}/{phase}"


def takes(measured: Measured, replica: str) -> Takes:
    """Return what this replica's moves rarely take longer than, as far as they were measured: a promise is made of it."""
    return Takes(
        {each: measured.of(replica, wake_of(each), guess).cautious for each, guess in _WAKES.items()},
        {each: measured.of(replica, sleep_of(each), guess).cautious for each, guess in _SLEEPS.items()},
        {
            move: known.mean
            for (name, move), known in measured.moves.items()
            if name == replica and "/" in move
        },
    )
