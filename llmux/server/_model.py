"""One model's life as types: the states it can be in, the events that move it, the effects that a move asks for.

Two of the effects (`PutToSleep`, `WakeEngine`) and `StartEngine` begin an operation; its end comes back as an event.
`held` counts the requests that wait for the model to serve; `in_flight` those that the engine is answering.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from llmux.server.errors import Problem


class Weights(StrEnum):
    """What a sleep does with the weights."""

    RETAIN = "retain"  # leaves them where they are
    OFFLOAD = "offload"  # from the accelerator to main memory (vLLM's sleep level 1)
    DISCARD = "discard"  # drops them; waking reads them again (vLLM's sleep level 2)


class Process(StrEnum):
    """What a sleep does with the engine's processes."""

    KEEP_RUNNING = "keep_running"
    CHECKPOINT = "checkpoint"  # dumps them to disk with CRIU and ends them
    STOP = "stop"  # ends them; waking is a cold start
    CUDA_SUSPEND = "cuda_suspend"  # moves the accelerator's memory out with cuda-checkpoint


@dataclass(frozen=True)
class Eviction:
    """How deep a sleep is."""

    weights: Weights
    process: Process

    def __str__(self) -> str:
        return f"weights {self.weights}, process {self.process}"


class WakeKind(StrEnum):
    """How a model came to serve."""

    RESTORED = "restored"  # from a checkpoint
    COLD_START = "cold_start"
    WARM = "warm"  # its process had been kept running


@dataclass(frozen=True)
class Wake:
    """How a model last came to serve, how long that took, and for a cold start why it was one."""

    kind: WakeKind
    seconds: float
    at: float
    reason: str = ""


# ---- states ----


@dataclass(frozen=True, kw_only=True)
class _State:
    since: float
    """When the model came into this state, in seconds since the epoch."""


@dataclass(frozen=True, kw_only=True)
class _Holding(_State):
    held: int = 0


@dataclass(frozen=True, kw_only=True)
class NotStarted(_State):
    """Nothing of it runs, and no checkpoint of it can be used. `why` is what makes its next start a cold one."""

    why: str = "it had not been started before"


@dataclass(frozen=True, kw_only=True)
class Starting(_Holding):
    """A cold start is under way; `why` says why it is a cold one."""

    why: str
    fallback: Eviction | None = None
    """The sleep that it goes back to if this start fails too: a wake has failed, and its checkpoint is still there."""


@dataclass(frozen=True, kw_only=True)
class Running(_State):
    """It serves. `sleep_failed` tells of the last attempt to put it to sleep, if that failed."""

    in_flight: int = 0
    sleep_failed: Problem | None = None


@dataclass(frozen=True, kw_only=True)
class Draining(_Holding):
    """A sleep was asked for; it begins when the requests in flight have been answered."""

    in_flight: int
    eviction: Eviction


@dataclass(frozen=True, kw_only=True)
class GoingToSleep(_Holding):
    """The sleep is under way."""

    eviction: Eviction


@dataclass(frozen=True, kw_only=True)
class Asleep(_State):
    """It sleeps, so deep. `wake_failed` tells of the last attempt to wake it, if that failed."""

    eviction: Eviction
    wake_failed: Problem | None = None


@dataclass(frozen=True, kw_only=True)
class Waking(_Holding):
    """It is being woken out of a sleep so deep."""

    eviction: Eviction


@dataclass(frozen=True, kw_only=True)
class Failed(_State):
    """Its engine could not start, or is gone. The next request starts it again."""

    why: Problem


State = NotStarted | Starting | Running | Draining | GoingToSleep | Asleep | Waking | Failed

_NAMES: dict[type[State], str] = {
    NotStarted: "not_started",
    Starting: "starting",
    Running: "running",
    Draining: "draining",
    GoingToSleep: "going_to_sleep",
    Asleep: "asleep",
    Waking: "waking",
    Failed: "failed",
}


def name_of(state: State) -> str:
    """Return the state's name as /control/status shows it."""
    return _NAMES[type(state)]


# ---- events ----


@dataclass(frozen=True)
class CheckpointFound:
    """A valid checkpoint lay on disk when llmux started."""

    eviction: Eviction


@dataclass(frozen=True)
class CheckpointUnusable:
    """What lay where a checkpoint should be when llmux started is none that may be restored."""

    problem: Problem


@dataclass(frozen=True)
class Requested:
    """A request wants the model to serve."""


@dataclass(frozen=True)
class Withdrawn:
    """A held request's client has gone."""


@dataclass(frozen=True)
class Finished:
    """A request in flight has been answered, or its client has gone."""


@dataclass(frozen=True)
class SleepAsked:
    """Somebody, or the policy, wants the model asleep."""

    eviction: Eviction


@dataclass(frozen=True)
class DrainTimedOut:
    """The requests in flight were not answered in time."""

    problem: Problem


@dataclass(frozen=True)
class Slept:
    """The sleep is complete."""


@dataclass(frozen=True)
class SleepFailed:
    """The sleep failed and the engine serves on."""

    problem: Problem


@dataclass(frozen=True)
class Awake:
    """The engine serves, after a start or a wake."""

    wake: Wake


@dataclass(frozen=True)
class StartFailed:
    """The cold start failed; nothing of the engine is left."""

    problem: Problem


@dataclass(frozen=True)
class WakeFailed:
    """The wake failed; a cold start can still help."""

    problem: Problem


@dataclass(frozen=True)
class NoRoom:
    """No other model could be put to sleep to make room for this one."""

    problem: Problem


@dataclass(frozen=True)
class EngineLost:
    """The engine ended by itself, or a failed sleep could not be taken back."""

    problem: Problem


Event = (
    CheckpointFound
    | CheckpointUnusable
    | Requested
    | Withdrawn
    | Finished
    | SleepAsked
    | DrainTimedOut
    | Slept
    | SleepFailed
    | Awake
    | StartFailed
    | WakeFailed
    | NoRoom
    | EngineLost
)


# ---- effects ----


@dataclass(frozen=True)
class StartEngine:
    """End what is left of the engine and cold-start it. Ends in Awake, StartFailed or NoRoom."""

    why: str


@dataclass(frozen=True)
class PutToSleep:
    """Put the engine to sleep. Ends in Slept, SleepFailed or EngineLost."""

    eviction: Eviction


@dataclass(frozen=True)
class WakeEngine:
    """Wake the engine. Ends in Awake, WakeFailed or NoRoom."""

    eviction: Eviction


@dataclass(frozen=True)
class EndEngine:
    """End what is left of the engine."""


@dataclass(frozen=True)
class StartDrainTimer:
    """Send DrainTimedOut when the time for requests in flight is over."""


@dataclass(frozen=True)
class StopDrainTimer:
    """The requests in flight have been answered, or the engine is gone."""


@dataclass(frozen=True)
class AdmitHeld:
    """Let every held request go to the engine."""


@dataclass(frozen=True)
class RefuseHeld:
    """Answer every held request with this error."""

    problem: Problem


@dataclass(frozen=True)
class RememberWake:
    """Keep this as the last wake."""

    wake: Wake


Effect = (
    StartEngine
    | PutToSleep
    | WakeEngine
    | EndEngine
    | StartDrainTimer
    | StopDrainTimer
    | AdmitHeld
    | RefuseHeld
    | RememberWake
)


@dataclass(frozen=True)
class Move:
    """What one event leads to."""

    state: State
    effects: tuple[Effect, ...] = field(default=())
