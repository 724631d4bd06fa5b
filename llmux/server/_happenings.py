"""What happens here that somebody may want to see: one frozen type for each kind. Pure; `_bus.py` brings them around.

Names of replicas' states and of engines' wakes are those of /control/status. Durations are in seconds; a request is
known by a handle that its happenings share. `Problem.code` is stable, its message is for people.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct

from llmux.server._model import Eviction, WakeKind
from llmux.server.errors import Problem


@dataclass(frozen=True, kw_only=True)
class _OfReplica:
    model: str
    replica: str


# ---- replicas ----


@dataclass(frozen=True, kw_only=True)
class StateChanged(_OfReplica):
    """A replica has come into another state."""

    before: str
    after: str
    cause: str
    """The event that its machine was fed, as `_model.py` names it."""
    why: str = ""
    """Why, where the event or the new state tells."""
    seconds: float
    """How long it had been in the state before."""


@dataclass(frozen=True, kw_only=True)
class SleepDone(_OfReplica):
    """A replica sleeps, or sleeps deeper."""

    eviction: Eviction
    seconds: float
    size_bytes: int | None = None
    """Of its checkpoint, where it has one for this sleep."""
    reused: bool = False
    """The checkpoint that it was restored from serves again: nothing was dumped."""
    escalated: bool = False
    """A lighter sleep had failed before."""
    deepened: bool = False
    """It slept already, less deep."""
    phases: Mapping[str, float] = field(default_factory=dict)
    phases_begun: Mapping[str, float] = field(default_factory=dict)
    """After how many seconds each began, as far as that is known."""


@dataclass(frozen=True, kw_only=True)
class SleepFailed(_OfReplica):
    """A sleep, or a deeper one, came to nothing."""

    eviction: Eviction
    seconds: float
    problem: Problem
    engine_lost: bool = False
    """The engine does not serve on, nor sleep on."""


@dataclass(frozen=True, kw_only=True)
class WakeDone(_OfReplica):
    """A replica has come to serve."""

    wake: WakeKind
    seconds: float
    reason: str = ""
    """Why it was a cold start, where it was one."""
    phases: Mapping[str, float] = field(default_factory=dict)
    phases_begun: Mapping[str, float] = field(default_factory=dict)
    """After how many seconds each began, as far as that is known."""


@dataclass(frozen=True, kw_only=True)
class WakeFailed(_OfReplica):
    """A replica could not be brought to serve this way; a failed wake is followed by a cold start."""

    wake: WakeKind
    seconds: float
    problem: Problem


@dataclass(frozen=True, kw_only=True)
class EngineLost(_OfReplica):
    """An engine ended by itself or stopped answering, or a failed sleep could not be taken back."""

    problem: Problem


@dataclass(frozen=True, kw_only=True)
class EngineRestarted(_OfReplica):
    """The engine of a replica that had failed is started again."""

    failures: int
    """How often in a row it had failed."""
    why: str


# ---- checkpoints ----


@dataclass(frozen=True, kw_only=True)
class CheckpointMade(_OfReplica):
    """A checkpoint was published; the one before it, if any, is replaced."""

    generation: int
    size_bytes: int
    seconds: float
    """How long the sleep took that made it."""


@dataclass(frozen=True, kw_only=True)
class CheckpointReused(_OfReplica):
    """An engine went to sleep in the checkpoint that it had been restored from."""

    generation: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class CheckpointRemoved(_OfReplica):
    """A replica's checkpoint is gone."""

    why: str


# ---- requests ----


class Outcome(StrEnum):
    """What became of a request."""

    ANSWERED = "answered"  # to the end, whatever the engine's status
    REFUSED = "refused"  # by llmux itself, with an error
    BROKEN_OFF = "broken_off"  # the answer had begun and could not be finished
    CLIENT_GONE = "client_gone"


class Tokens(Struct, frozen=True):
    """What an answer says of its own size."""

    prompt: int
    completion: int


class _OfRequest(Struct, frozen=True, kw_only=True):
    request: str
    """Its handle, as /control/requests has it: no other request's."""
    request_id: str = ""
    """Its X-Request-ID, as the log has it: the same, unless its client has chosen it."""
    model: str
    """As configured; empty where the request named none that is."""
    path: str


class RequestQueued(_OfRequest, frozen=True, kw_only=True):
    """A request asks for an engine of a model. It is admitted at once where one serves, and waits otherwise."""

    why: str = ""
    """Why it asks again: the code of the problem with which the former engine has not answered it."""


class RequestAdmitted(_OfRequest, frozen=True, kw_only=True):
    """A request was given to an engine; again, where an engine failed before it had begun to answer."""

    replica: str
    queued: float
    wake: str
    """`restored` or `cold` where it had to wait for that, otherwise `warm`."""


class RequestFinished(_OfRequest, frozen=True, kw_only=True):
    """A request is over. Of one that was never admitted, `replica` and `wake` are empty."""

    method: str
    status: int
    """Of the answer, which a client that has gone may have a part of; 499 where it had gone before it was sent anything."""
    outcome: Outcome
    code: str = ""
    """Of the problem, where it was refused or broken off."""
    replica: str = ""
    wake: str = ""
    queued: float
    """Until it was admitted, or over."""
    first_byte: float | None = None
    """From its arrival to the first byte of the answer's body; None where none came."""
    seconds: float
    tokens: Tokens | None = None
    """Where the answer told."""


# ---- llmux itself ----


@dataclass(frozen=True, kw_only=True)
class Decided(_OfReplica):
    """Somebody wants a replica in another state."""

    who: str
    """The policy's name, or `control` where somebody asked by hand."""
    what: str
    """`wake`, `sleep` or `deepen`."""
    why: str


@dataclass(frozen=True, kw_only=True)
class ConfigurationReloaded:
    """The configuration was read anew, and is in force; where there is a problem, the former one stays."""

    changes: str = ""
    engines_anew: tuple[str, ...] = ()
    problem: Problem | None = None


Happening = (
    StateChanged
    | SleepDone
    | SleepFailed
    | WakeDone
    | WakeFailed
    | EngineLost
    | EngineRestarted
    | CheckpointMade
    | CheckpointReused
    | CheckpointRemoved
    | RequestQueued
    | RequestAdmitted
    | RequestFinished
    | Decided
    | ConfigurationReloaded
)

OF_REQUESTS = (RequestQueued, RequestAdmitted, RequestFinished)


class Entry(Struct, frozen=True):
    """A happening with its number and time."""

    id: int
    """Grows from entry to entry, from 1 on at each start of llmux."""
    at: float
    """In seconds since the epoch, for people."""
    monotonic: float
    """The same by the monotonic clock."""
    happening: Happening

    @property
    def kind(self) -> str:
        """Return its kind as events and hooks name it."""
        return kind_of(type(self.happening))


def kind_of(happening: type[Happening]) -> str:
    """Return the name of a kind: state_changed for StateChanged."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", happening.__name__).lower()
