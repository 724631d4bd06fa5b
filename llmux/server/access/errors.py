"""What is refused for who asks, or for how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from llmux.server.errors import ServerError


@dataclass(eq=False)
class NotAuthenticated(ServerError):
    """Nobody knows who asks: no key, or none that holds. The key itself is not said."""

    code: ClassVar[str] = "invalid_api_key"  # what OpenAI's clients know it by
    reason: str

    def what(self) -> str:
        return self.reason


@dataclass(eq=False)
class NotAllowed(ServerError):
    """Who asks is known and may not. `right` is what would be needed."""

    code: ClassVar[str] = "permission_denied"
    who: str
    right: str

    def what(self) -> str:
        return f"{self.who} may not do this: it takes the right to {self.right}"


@dataclass(eq=False)
class ModelNotAllowed(ServerError):
    """A key asks for a model that it is not for."""

    model: str
    key: str

    def what(self) -> str:
        return f"the key {self.key} is not for the model {self.model!r}"


@dataclass(eq=False)
class LimitReached(ServerError):
    """A key has asked for as much as it may. `retry_after` is in seconds."""

    code: ClassVar[str] = "rate_limit_exceeded"
    key: str
    limit: str
    retry_after: float

    def what(self) -> str:
        return f"the key {self.key} is limited to {self.limit}, and has reached that"


@dataclass(eq=False)
class RequestTooSlow(ServerError):
    """A client that does not send the body that it has announced."""

    received: int
    seconds: float

    def what(self) -> str:
        return f"the request's body did not come: {self.received} bytes of it in {self.seconds:.0f} s"
