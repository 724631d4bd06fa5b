"""How an operation on a replica went, as those see it who look on."""

from __future__ import annotations

import time

from llmux.server._hands import Stored
from llmux.server._happenings import (
    CheckpointMade,
    CheckpointReused,
    SleepDone,
    SleepFailed,
    WakeDone,
    WakeFailed,
)
from llmux.server._model import Eviction, Process, Wake, WakeKind
from llmux.server._phases import Phases
from llmux.server._record import Replica
from llmux.server.errors import Problem


def wake_done(replica: Replica, wake: Wake, phases: Phases) -> WakeDone:
    """Return what is to be told of an engine that serves."""
    return WakeDone(
        model=replica.model,
        replica=replica.name,
        wake=wake.kind,
        seconds=wake.seconds,
        reason=wake.reason,
        phases=dict(phases),
        phases_begun=dict(phases.begun),
    )


def wake_failed(replica: Replica, kind: WakeKind, began: float, problem: Problem) -> WakeFailed:
    """Return what is to be told of a wake or start that came to nothing."""
    seconds = time.monotonic() - began
    return WakeFailed(model=replica.model, replica=replica.name, wake=kind, seconds=seconds, problem=problem)


def sleep_done(replica: Replica, eviction: Eviction, seconds: float, phases: Phases) -> SleepDone:
    """Return what is to be told of an engine that sleeps."""
    on_disk = replica.stored if eviction.process is Process.CHECKPOINT else None
    return SleepDone(
        model=replica.model,
        replica=replica.name,
        eviction=eviction,
        seconds=seconds,
        size_bytes=on_disk.size_bytes if on_disk else None,
        phases=dict(phases),
        phases_begun=dict(phases.begun),
    )


def sleep_failed(
    replica: Replica, eviction: Eviction, began: float, problem: Problem, *, lost: bool
) -> SleepFailed:
    """Return what is to be told of a sleep that came to nothing."""
    return SleepFailed(
        model=replica.model,
        replica=replica.name,
        eviction=eviction,
        seconds=time.monotonic() - began,
        problem=problem,
        engine_lost=lost,
    )


def made(replica: Replica, stored: Stored) -> CheckpointMade:
    """Return what is to be told of a new checkpoint."""
    return CheckpointMade(
        model=replica.model,
        replica=replica.name,
        generation=stored.generation,
        size_bytes=stored.size_bytes,
        seconds=stored.seconds,
    )


def reused(replica: Replica, stored: Stored) -> CheckpointReused:
    """Return what is to be told of a checkpoint that serves again."""
    return CheckpointReused(
        model=replica.model,
        replica=replica.name,
        generation=stored.generation,
        size_bytes=stored.size_bytes,
    )
