"""What is simulated: a node, its models, and the requests that come. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from llmux.server.scheduling.snapshot import Amounts


@dataclass(frozen=True)
class Rung:
    """One depth of sleep."""

    keeps: Amounts = field(default_factory=dict)
    wake: float = 5.0
    """Seconds from here to serving."""
    sleep: float = 2.0
    """Seconds to get here, from the rung above or from serving."""
    stays: float | None = None
    """Seconds after which it goes one rung deeper."""


@dataclass(frozen=True)
class Model:
    """One model of the node."""

    name: str
    needs: Amounts
    rungs: tuple[Rung, ...] = (Rung(),)
    drain: float = 30.0
    """The longest that requests in flight may hold a sleep up; they are cut then."""
    concurrency: int = 16
    """Requests that one engine answers at once."""
    service: float = 1.0
    """Seconds that an answer takes where the trace does not say."""
    seconds_per_token: float = 0.02
    """The same, where the trace says tokens."""
    replicas: int = 1
    weight: float = 1.0
    priority: int = 0
    min_awake: float = 0.0
    ttl: float | None = None
    pinned: bool = False
    wanted: bool = False

    def seconds(self, request: Request) -> float:
        """Return how long the answer to this request takes."""
        if request.seconds is not None:
            return request.seconds
        return self.service if request.tokens is None else request.tokens * self.seconds_per_token


@dataclass(frozen=True)
class Scenario:
    """The node."""

    capacity: Amounts
    models: Mapping[str, Model]
    request_timeout: float | None = None
    half_life: float = 600.0


@dataclass(frozen=True)
class Request:
    """One line of a trace."""

    at: float
    """Seconds since the trace began."""
    model: str
    seconds: float | None = None
    """How long its answer takes; None: by its tokens, or as long as the model's answers do."""
    tokens: int | None = None


def plain(names: tuple[str, ...], awake: int = 1, model: Model | None = None) -> Scenario:
    """Return a node on which this many of these models can be awake together, all of them like `model`."""
    like = model or Model("", {})
    return Scenario({"awake": awake}, {name: replace(like, name=name, needs={"awake": 1}) for name in names})
