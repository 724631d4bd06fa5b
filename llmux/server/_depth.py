"""How deep sleeps are, one compared with another, by what they do with the engine's process. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from llmux.server._model import Asleep, Deepening, Draining, Eviction, GoingToSleep, Process, State, Weights

DEPTH: Mapping[Process, int] = {
    Process.KEEP_RUNNING: 0,
    Process.CUDA_SUSPEND: 1,
    Process.CHECKPOINT: 2,
    Process.STOP: 3,
}
"""How little a sleeping process still has: more is deeper."""

KEPT = frozenset({Process.KEEP_RUNNING, Process.CUDA_SUSPEND})
"""Sleeps that leave a process, which may end, and ends with llmux."""

STOPPED = Eviction(Weights.DISCARD, Process.STOP)
"""The deepest: nothing is left."""


def deeper_than(one: Eviction, other: Eviction) -> bool:
    """Say whether one sleep is deeper than another by what it does with the process."""
    return DEPTH[one.process] > DEPTH[other.process]


def deepened(eviction: Eviction, process: Process) -> Eviction:
    """Return `eviction` with a deeper process. Weights stay as they are, but for a stopped engine, which keeps none."""
    return Eviction(Weights.DISCARD if process is Process.STOP else eviction.weights, process)


def deep_enough(state: State, least: Eviction) -> Eviction:
    """Return the sleep to ask for where any will do that is no shallower than `least`: the one that there is, or is on its way, if it is none."""
    match state:
        case (
            Draining(eviction=there)
            | GoingToSleep(eviction=there)
            | Asleep(eviction=there)
            | Deepening(to=there)
        ) if not deeper_than(least, there):
            return there
        case _:
            return least
