"""One replica's life as types: the states it can be in, the events that move it, the effects that a move asks for.

`StartEngine`, `PutToSleep`, `WakeEngine` and `Deepen` begin an operation; its end comes back as an event. Requests wait
in their model's queue until a replica serves, and how many an engine is answering is counted elsewhere: what a state
has to know is that there are some when it is to sleep, and none any more.
All times are seconds of the monotonic clock.
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
    """In seconds since the epoch, for people."""
    reason: str = ""


# ---- states ----


@dataclass(frozen=True, kw_only=True)
class _State:
    since: float
    """When the replica came into this state."""


@dataclass(frozen=True, kw_only=True)
class NotStarted(_State):
    """Nothing of it runs, and no checkpoint of it can be used. `why` is what makes its next start a cold one."""

    why: str = "it had not been started before"


@dataclass(frozen=True, kw_only=True)
class Starting(_State):
    """A cold start is under way; `why` says why it is a cold one."""

    why: str
    fallback: Eviction | None = None
    """The sleep that it goes back to if this start fails too: a wake has failed, and its checkpoint is still there."""
    failures: int = 0
    """How often in a row it has failed before this start."""


@dataclass(frozen=True, kw_only=True)
class Running(_State):
    """It serves. `sleep_failed` tells of the last attempt to put it to sleep, if that failed."""

    sleep_failed: Problem | None = None
    failures: int = 0


@dataclass(frozen=True, kw_only=True)
class Draining(_State):
    """A sleep was asked for; it begins when the requests in flight have been answered."""

    eviction: Eviction
    escalation: tuple[Eviction, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GoingToSleep(_State):
    """The sleep is under way. If it fails, the first of `escalation` is tried; `failed` tells why others have failed."""

    eviction: Eviction
    escalation: tuple[Eviction, ...] = ()
    failed: Problem | None = None


@dataclass(frozen=True, kw_only=True)
class Asleep(_State):
    """It sleeps, so deep. `problem` tells of what failed last: an attempt to wake it, to deepen its sleep, or a lighter sleep."""

    eviction: Eviction
    problem: Problem | None = None


@dataclass(frozen=True, kw_only=True)
class Deepening(_State):
    """It sleeps, and goes one rung deeper without being woken."""

    eviction: Eviction
    to: Eviction


@dataclass(frozen=True, kw_only=True)
class Waking(_State):
    """It is being woken out of a sleep so deep."""

    eviction: Eviction


@dataclass(frozen=True, kw_only=True)
class Failed(_State):
    """Its engine could not start, or is gone. It is started again when it is wanted, after a pause that grows with `failures`."""

    why: Problem
    failures: int = 1


State = NotStarted | Starting | Running | Draining | GoingToSleep | Asleep | Deepening | Waking | Failed

_NAMES: dict[type[State], str] = {
    NotStarted: "not_started",
    Starting: "starting",
    Running: "running",
    Draining: "draining",
    GoingToSleep: "going_to_sleep",
    Asleep: "asleep",
    Deepening: "deepening",
    Waking: "waking",
    Failed: "failed",
}
STATE_NAMES = tuple(_NAMES.values())
"""As /control/status shows them."""


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
class Adopted:
    """An engine that an earlier llmux had left runs here: it serves, or sleeps with its process kept."""

    asleep: Eviction | None = None


@dataclass(frozen=True)
class WakeAsked:
    """The scheduler wants the replica to serve."""


@dataclass(frozen=True)
class SleepAsked:
    """Somebody, or the scheduler, wants the replica asleep; where that fails, as `escalation` says, one after the other."""

    eviction: Eviction
    escalation: tuple[Eviction, ...] = ()
    busy: bool = False
    """Requests are in flight."""


@dataclass(frozen=True)
class Drained:
    """The last request in flight has been answered, or its client has gone."""


@dataclass(frozen=True)
class DeepenAsked:
    """A sleeping replica is to sleep deeper."""

    to: Eviction


@dataclass(frozen=True)
class DrainTimedOut:
    """The requests in flight were not answered in time: the sleep is given up, or they are cut off for it."""

    problem: Problem
    give_up: bool = True


@dataclass(frozen=True)
class Slept:
    """The sleep is complete, or the deeper one."""


@dataclass(frozen=True)
class SleepFailed:
    """The sleep failed and the engine serves on, or sleeps on as before."""

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
class EngineLost:
    """The engine ended by itself or stopped answering, or a failed sleep could not be taken back."""

    problem: Problem


@dataclass(frozen=True)
class Pardoned:
    """Somebody asks for a failed replica by hand: its failures no longer count."""


@dataclass(frozen=True)
class Renewed:
    """It is configured otherwise, and rests: what it is to start is another engine than it was."""


Event = (
    CheckpointFound
    | CheckpointUnusable
    | Adopted
    | WakeAsked
    | SleepAsked
    | Drained
    | DeepenAsked
    | DrainTimedOut
    | Slept
    | SleepFailed
    | Awake
    | StartFailed
    | WakeFailed
    | EngineLost
    | Pardoned
    | Renewed
)


# ---- effects ----


@dataclass(frozen=True)
class StartEngine:
    """End what is left of the engine and cold-start it. Ends in Awake or StartFailed."""

    why: str


@dataclass(frozen=True)
class PutToSleep:
    """Put the engine to sleep. Ends in Slept, SleepFailed or EngineLost."""

    eviction: Eviction


@dataclass(frozen=True)
class Deepen:
    """Take a sleeping engine one rung deeper. Ends in Slept, SleepFailed or EngineLost."""

    eviction: Eviction
    to: Eviction


@dataclass(frozen=True)
class WakeEngine:
    """Wake the engine. Ends in Awake or WakeFailed."""

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
class CutInFlight:
    """End the answers in flight with this error: their time is over, or their engine is lost."""

    problem: Problem
    engine_lost: bool = False
    cancelled: bool = False
    """Somebody has cancelled it: it is not asked again."""


@dataclass(frozen=True)
class RefuseWaiting:
    """Answer every request that waits for the model with this error, unless another replica can serve it."""

    problem: Problem


@dataclass(frozen=True)
class RememberWake:
    """Keep this as the last wake."""

    wake: Wake


Effect = (
    StartEngine
    | PutToSleep
    | Deepen
    | WakeEngine
    | EndEngine
    | StartDrainTimer
    | StopDrainTimer
    | CutInFlight
    | RefuseWaiting
    | RememberWake
)


@dataclass(frozen=True)
class Move:
    """What one event leads to."""

    state: State
    effects: tuple[Effect, ...] = field(default=())
