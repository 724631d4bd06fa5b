"""What the server refuses, and why: one root error; each carries fields, a stable code, and what to do next."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

__all__ = [
    "AddressTaken",
    "CheckpointOfAnotherStart",
    "ConfigInvalid",
    "ConfigUnreadable",
    "EngineEnded",
    "EngineGone",
    "EngineHung",
    "EngineLacks",
    "EngineNotHealthy",
    "EnginePortTaken",
    "EvictionRefused",
    "IllegalMove",
    "ModelUnavailable",
    "NoCheckpoint",
    "NodeUnfit",
    "OriginRefused",
    "PathRefused",
    "Problem",
    "QueueFull",
    "RequestInvalid",
    "RequestTimedOut",
    "RestartNeeded",
    "ServerError",
    "StartRefused",
    "TraceInvalid",
    "UnknownItem",
    "UnknownModel",
]


_LOOK = "GET /control/status says how the model is; ask again, or see the engine's log"


@dataclass(frozen=True)
class Problem:
    """Why something did not work, as a value that a state can keep: a stable code, one line, and what to do."""

    code: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


@dataclass(eq=False)
class ServerError(Exception):
    """Root of every error the server raises on purpose.

    `code` names the kind for programs (unless a class says otherwise, its own name in small letters); `what()` says what happened in one line without a final full stop;
    `hint` says what to do next.
    """

    code: ClassVar[str] = "server_error"
    hint: str = field(default="", kw_only=True)

    def __init_subclass__(cls) -> None:
        if "code" not in vars(cls):
            cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def what(self) -> str:
        """Say what happened, to which field, model or address."""
        raise NotImplementedError

    def __str__(self) -> str:
        what = self.what()
        return what + ("\n" if "\n" in what else ". ") + self.hint if self.hint else what

    def problem(self) -> Problem:
        """Return the same as a value."""
        return Problem(self.code, self.what(), self.hint)


@dataclass(eq=False)
class ConfigUnreadable(ServerError):
    """The configuration file is missing, unreadable or not in its format."""

    path: str
    reason: str

    def what(self) -> str:
        return f"cannot read the configuration {self.path}: {self.reason}"


@dataclass(eq=False)
class ConfigInvalid(ServerError):
    """The configuration says something that cannot be; `faults` holds every place, each with the path to its field."""

    path: str
    faults: tuple[str, ...]

    def what(self) -> str:
        count = "one fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        return f"the configuration {self.path} has {count}:" + "".join(
            f"\n  {fault}" for fault in self.faults
        )


@dataclass(eq=False)
class TraceInvalid(ServerError):
    """What a simulation was to read or write cannot be used; `faults` says where and why."""

    path: str
    faults: tuple[str, ...]

    def what(self) -> str:
        return f"{self.path} cannot be used:" + "".join(f"\n  {fault}" for fault in self.faults)


@dataclass(eq=False)
class RestartNeeded(ServerError):
    """A reload of what llmux is started with; `fields` are the paths."""

    path: str
    fields: tuple[str, ...]

    def what(self) -> str:
        return f"of the configuration {self.path}, what is new in {', '.join(self.fields)} needs a restart of llmux"


@dataclass(eq=False)
class StartRefused(ServerError):
    """llmux cannot do here what the configuration asks for."""

    reason: str

    def what(self) -> str:
        return self.reason


@dataclass(eq=False)
class NodeUnfit(ServerError):
    """This machine cannot hold or do what the configuration asks for; `faults` holds every place, each with the path to its field."""

    faults: tuple[str, ...]

    def what(self) -> str:
        return "this machine cannot serve the configuration:" + "".join(
            f"\n  {fault}" for fault in self.faults
        )


@dataclass(eq=False)
class AddressTaken(ServerError):
    """llmux cannot listen where it was told to: on a port, or at a path of a Unix socket."""

    host: str
    port: int | None
    reason: str

    def what(self) -> str:
        place = self.host if self.port is None else f"{self.host}:{self.port}"
        return f"cannot listen on {place}: {self.reason}"


@dataclass(eq=False)
class RequestInvalid(ServerError):
    """A request that no model can be found for, or that is not what its path takes. `param` is the field at fault."""

    code: ClassVar[str] = "invalid_request"
    reason: str
    param: str | None = None

    def what(self) -> str:
        return self.reason


@dataclass(eq=False)
class OriginRefused(ServerError):
    """A WebSocket that a page of another origin asks for: browsers let any page open one, and read what it brings."""

    origin: str

    def what(self) -> str:
        return f"a page of {self.origin} cannot open a WebSocket here"


@dataclass(eq=False)
class PathRefused(ServerError):
    """A call of the engines that is no client's to make."""

    code: ClassVar[str] = "not_found"
    path: str

    def what(self) -> str:
        return f"{self.path} is not passed on to engines"


@dataclass(eq=False)
class UnknownModel(ServerError):
    """A model that the configuration does not name."""

    code: ClassVar[str] = "model_not_found"
    model: str
    known: tuple[str, ...] = ()

    def what(self) -> str:
        return f"the model {self.model!r} does not exist (configured: {', '.join(self.known)})"


@dataclass(eq=False)
class UnknownItem(ServerError):
    """An object of an engine that llmux does not know the model of, asked for without a model."""

    code: ClassVar[str] = "not_found"
    item: str

    def what(self) -> str:
        return f"no model is known to have {self.item}: it was never made, or llmux was restarted since"


@dataclass(eq=False)
class EngineLacks(ServerError):
    """A call of an API that the model's engine does not have."""

    code: ClassVar[str] = "not_implemented"
    model: str
    engine: str
    call: str
    words: str = ""

    def what(self) -> str:
        said = f" (it says: {self.words})" if self.words else ""
        return f"the engine of {self.model!r}, {self.engine}, does not have {self.call}{said}"


@dataclass(eq=False)
class EvictionRefused(ServerError):
    """A sleep of a depth that cannot work on this machine."""

    reason: str

    def what(self) -> str:
        return self.reason


@dataclass(eq=False)
class QueueFull(ServerError):
    """So many requests wait already that this one is not let in. `retry_after` is an estimate in seconds."""

    code: ClassVar[str] = "rate_limit_exceeded"  # what OpenAI's clients know a full queue by
    model: str
    waiting: int
    limit_of: str
    retry_after: float

    def what(self) -> str:
        return f"{self.waiting} requests wait already for {self.limit_of}, so that this one for {self.model!r} is not let in"


@dataclass(eq=False)
class RequestTimedOut(ServerError):
    """A request's time is over before the first byte of its answer."""

    model: str
    seconds: float
    state: str

    def what(self) -> str:
        return f"{self.model!r} has not begun to answer within {self.seconds:g} s: it is {self.state}"


@dataclass(eq=False)
class IllegalMove(ServerError):
    """A state that does not allow this. `move` is what the model was to do, as an infinitive."""

    state: str
    move: str

    def what(self) -> str:
        return f"a model that is {self.state} cannot {self.move}"


@dataclass(eq=False)
class ModelUnavailable(ServerError):
    """The model could not be brought to serve, or to sleep; `cause` says why.

    `retry_after` is an estimate of the seconds until it can be had, where there is one.
    """

    model: str
    cause: Problem
    retry_after: float | None = None

    def what(self) -> str:
        return f"{self.model}: {self.cause.message}"

    def problem(self) -> Problem:
        """Return the cause's code, which says more than this error's own."""
        return Problem(self.cause.code, self.what(), self.hint or self.cause.hint or _LOOK)


@dataclass(eq=False)
class EngineEnded(ServerError):
    """An engine's process ended by itself. `exit_code` is its exit code, a signal's number negated."""

    exit_code: int
    log: str
    last_words: str

    def what(self) -> str:
        ending = (
            f"was killed by signal {-self.exit_code}"
            if self.exit_code < 0
            else f"ended with code {self.exit_code}"
        )
        return f"the engine {ending}; the end of {self.log}: {self.last_words or '(nothing)'}"


@dataclass(eq=False)
class EngineGone(ServerError):
    """The engine that something was to be done with has ended."""

    model: str

    def what(self) -> str:
        return f"the engine of {self.model} has ended"


@dataclass(eq=False)
class EngineHung(ServerError):
    """An engine runs and does not answer any more."""

    fault: str
    log: str
    last_words: str

    def what(self) -> str:
        return f"the engine hangs: {self.fault}; the end of {self.log}: {self.last_words or '(nothing)'}"


@dataclass(eq=False)
class EngineNotHealthy(ServerError):
    """An engine runs but did not come to serve in time."""

    url: str
    seconds: float
    log: str
    last_words: str

    def what(self) -> str:
        return f"{self.url} was not healthy within {self.seconds:g} s; the end of {self.log}: {self.last_words or '(nothing)'}"


@dataclass(eq=False)
class EnginePortTaken(ServerError):
    """Somebody else listens on the port that an engine is to have."""

    code: ClassVar[str] = "port_taken"
    port: int
    reason: str

    def what(self) -> str:
        return f"the engine's port {self.port} cannot be used: {self.reason}"


@dataclass(eq=False)
class NoCheckpoint(ServerError):
    """A checkpoint that was there is gone."""

    model: str

    def what(self) -> str:
        return f"{self.model} has no checkpoint any more"


@dataclass(eq=False)
class CheckpointOfAnotherStart(ServerError):
    """A checkpoint of an engine that was started otherwise than the configuration says now."""

    path: str

    def what(self) -> str:
        return f"the engine in {self.path} was started with another command, model, port or env than is configured now"
