"""What people are told of states, sleeps, wakes, checkpoints and amounts: the same words in a terminal as on the page. Pure.

The page has its own copy (`page/words.js`), which a test compares with this one. Programs are told the names themselves.
"""

from __future__ import annotations

STATES = {
    "not_started": "not started",
    "starting": "starting",
    "running": "awake",
    "draining": "draining",
    "going_to_sleep": "going to sleep",
    "asleep": "asleep",
    "deepening": "sleeping deeper",
    "waking": "waking",
    "failed": "failed",
}
PHASES = {
    "waiting": "waiting for room",
    "engine_sleep": "letting go of its weights",
    "cuda_suspend": "leaving its GPUs",
    "dump": "being written to disk",
    "end": "ending its processes",
    "restore": "being restored",
    "cuda_resume": "coming back to its GPUs",
    "health": "until it answers",
    "wake": "taking up its weights",
}
"""What a move is at, as operations and replicas tell it."""
WEIGHTS = {"retain": "weights kept", "offload": "weights in host memory", "discard": "weights dropped"}
PROCESS = {
    "keep_running": "process kept",
    "cuda_suspend": "GPU memory in host memory",
    "checkpoint": "process on disk",
    "stop": "process ended",
}
WAKES = {"restored": "restored", "cold_start": "started cold", "warm": "woken"}
CHECKPOINTS = {
    "published": "whole as far as is known",
    "unusable": "unusable",
    "orphan": "of no configured model",
    "half_made": "half made",
}
"""What lies among the checkpoints."""
USES = {
    "none": "",
    "asleep": "its model sleeps in it",
    "restoring": "being restored",
    "replacing": "being replaced",
}
PINNED = "pinned"
DRAINED = "drained: no new request is let in"
MANUAL = "manual: models wake and sleep by hand only"
NOT_TOLD = "NVML does not tell"


def state(name: str) -> str:
    """Say how a replica is."""
    return STATES.get(name, _plain(name))


def phase(name: str) -> str:
    """Say what a move is at; between two phases that is a state, and other names speak for themselves."""
    return PHASES.get(name) or state(name)


def depth(weights: str, process: str) -> str:
    """Say how deep a sleep is. A process that is ended keeps no weights."""
    kept = PROCESS.get(process, _plain(process))
    return kept if process == "stop" else f"{WEIGHTS.get(weights, _plain(weights))}, {kept}"


def wake(kind: str) -> str:
    """Say how a model came to serve."""
    return WAKES.get(kind, _plain(kind))


def resource(name: str) -> str:
    """Say what there is some of."""
    return _plain(name).replace(":", " ")


def duration(seconds: float) -> str:
    """Return so many seconds in the unit that says most."""
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    for unit, length, below in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < below:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def age(seconds: float) -> str:
    """Return the same of a time that goes on: nobody reads the parts of its seconds."""
    seconds = max(0.0, seconds)
    return f"{int(seconds)} s" if seconds < 10 else duration(seconds)


def _plain(name: str) -> str:
    return name.replace("_", " ")
