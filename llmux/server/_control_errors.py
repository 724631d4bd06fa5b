"""What the control API refuses beyond what every request may meet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from llmux.server.errors import ServerError


@dataclass(eq=False)
class UnknownRequest(ServerError):
    """A request that is neither waiting nor in flight."""

    code: ClassVar[str] = "request_not_found"
    id: str

    def what(self) -> str:
        return f"no request {self.id!r} waits or is being answered"


@dataclass(eq=False)
class RequestCancelled(ServerError):
    """A request that somebody has cancelled by hand."""

    model: str

    def what(self) -> str:
        return f"this request for {self.model!r} was cancelled by whoever runs llmux"


@dataclass(eq=False)
class UnknownCheckpoint(ServerError):
    """A checkpoint that there is not."""

    code: ClassVar[str] = "checkpoint_not_found"
    name: str

    def what(self) -> str:
        return f"there is no checkpoint of {self.name!r}"


@dataclass(eq=False)
class CheckpointInUse(ServerError):
    """A checkpoint that somebody needs at this moment."""

    name: str
    reason: str

    def what(self) -> str:
        return f"the checkpoint of {self.name!r} is in use: {self.reason}"


@dataclass(eq=False)
class CheckpointUnread(ServerError):
    """A checkpoint that the library cannot read."""

    code: ClassVar[str] = "checkpoint_unreadable"
    name: str
    reason: str

    def what(self) -> str:
        return f"the checkpoint of {self.name!r} cannot be read: {self.reason}"


@dataclass(eq=False)
class NoLog(ServerError):
    """A log that is not there, or cannot be read."""

    code: ClassVar[str] = "log_not_found"
    name: str
    reason: str

    def what(self) -> str:
        return f"there is no log {self.name}: {self.reason}"


@dataclass(eq=False)
class UnknownOperation(ServerError):
    """An operation that never was, or that is no longer remembered."""

    code: ClassVar[str] = "operation_not_found"
    id: str

    def what(self) -> str:
        return f"there is no operation {self.id!r}"


@dataclass(eq=False)
class TooManyOperations(ServerError):
    """So many operations are under way that no other is begun."""

    count: int

    def what(self) -> str:
        return f"{self.count} operations are under way"


@dataclass(eq=False)
class IdempotencyKeyReused(ServerError):
    """A key that has come with another request before."""

    key: str

    def what(self) -> str:
        return f"the Idempotency-Key {self.key!r} has come with another request before"


@dataclass(eq=False)
class OperationBrokenOff(ServerError):
    """llmux has ended in the midst of an operation."""

    code: ClassVar[str] = "stopping"
    kind: str

    def what(self) -> str:
        return f"llmux is stopping, in the midst of this {self.kind}"


@dataclass(eq=False)
class OperationFailed(ServerError):
    """An operation has met a fault of llmux."""

    code: ClassVar[str] = "internal_error"
    kind: str
    hint: str = field(default="See llmux's log", kw_only=True)

    def what(self) -> str:
        return f"the {self.kind} failed unforeseen"
