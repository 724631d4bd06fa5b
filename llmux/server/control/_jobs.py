"""Long work that somebody has asked for: begun once, looked at as often as one likes, and remembered for a while.

    job = jobs.begin(Kind.WAKE, "m", work)         `work` is done whether or not anybody waits for it
    await job.until_over(seconds)
    job.result, job.error

Everything in the loop's own thread.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from llmux.server._control_errors import (
    IdempotencyKeyReused,
    OperationBrokenOff,
    OperationFailed,
    TooManyOperations,
    UnknownOperation,
)
from llmux.server.control._answers import Result
from llmux.server.control._reckoning import HowFar
from llmux.server.errors import ServerError

log = logging.getLogger(__name__)

KEPT = 1000
"""Operations that are over and still known."""
UNDER_WAY = 1000
"""Operations that may be under way together."""
KEYS = 10_000
"""Idempotency keys that are remembered; the oldest is forgotten for one more."""
KEY_SECONDS = 86_400.0

Work = Callable[[], Awaitable[Result]]
Spawn = Callable[[Coroutine[None, None, None]], asyncio.Task[None]]


class Kind(StrEnum):
    """What an operation does."""

    SLEEP = "sleep"
    WAKE = "wake"
    SWITCH = "switch"
    DRAIN = "drain"
    VERIFY = "verify"
    PRUNE = "prune"


@dataclass(eq=False)
class Job:
    """One operation. Times by the monotonic clock, but for `started_at`, which is for people."""

    kind: Kind
    model: str | None
    started_at: float
    how_far: HowFar | None = None
    """Says how far it is; None: the model's replicas do."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    result: Result | None = None
    error: ServerError | None = None
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def seconds(self) -> float:
        """Return how long it has taken so far, or in all."""
        return (time.monotonic() if self.ended is None else self.ended) - self.began

    async def until_over(self, seconds: float | None) -> bool:
        """Wait so long for its end, or without bound; say whether it is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    async def run(self, work: Work) -> None:
        """Do the work and keep what it comes to."""
        try:
            self.result = await work()
        except ServerError as error:
            self.error = error
        except Exception:  # a task's boundary
            log.exception("operation %s (%s) failed unforeseen", self.id, self.kind)
            self.error = OperationFailed(self.kind)

    def end(self) -> None:
        """Tell those who wait for it; without result or error it was broken off."""
        if self.result is None and self.error is None:
            self.error = OperationBrokenOff(self.kind)
        self.ended = time.monotonic()
        self._over.set()


@dataclass(frozen=True)
class _Asked:
    digest: bytes
    job: Job
    at: float


class Jobs:
    """All operations of one llmux."""

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._under_way: dict[str, Job] = {}
        self._over: dict[str, Job] = {}
        self._keys: dict[str, _Asked] = {}

    def __iter__(self) -> Iterator[Job]:
        """Yield what is known, the latest first."""
        known = (*self._over.values(), *self._under_way.values())
        return iter(sorted(known, key=lambda job: job.began, reverse=True))

    def find(self, name: str) -> Job:
        """Return the operation of this id. Raises UnknownOperation."""
        job = self._under_way.get(name) or self._over.get(name)
        if job is None:
            raise UnknownOperation(name, hint="GET /control/operations lists those that are known")
        return job

    def begin(self, kind: Kind, model: str | None, work: Work, how_far: HowFar | None = None) -> Job:
        """Begin to do something. Raises TooManyOperations."""
        if len(self._under_way) >= UNDER_WAY:
            raise TooManyOperations(len(self._under_way), hint="Ask again when some of them are over")
        job = Job(kind, model, time.time(), how_far)
        self._under_way[job.id] = job
        # By a callback: a task that is cancelled before its first step never runs.
        self._spawn(job.run(work)).add_done_callback(lambda _task: self._end(job))
        return job

    def begun_by(self, key: str, asked: str) -> Job | None:
        """Return what this Idempotency-Key has begun with the same request. Raises IdempotencyKeyReused."""
        known = self._keys.get(key)
        if known is None or time.monotonic() - known.at > KEY_SECONDS:
            return None
        if known.digest != _digest(asked):
            raise IdempotencyKeyReused(key, hint="Send each request with a key of its own")
        return known.job

    def remember(self, key: str, asked: str, job: Job) -> None:
        """Have this Idempotency-Key stand for this operation."""
        self._keys.pop(key, None)
        self._keys[key] = _Asked(_digest(asked), job, time.monotonic())
        if len(self._keys) > KEYS:
            del self._keys[next(iter(self._keys))]

    def _end(self, job: Job) -> None:
        job.end()
        self._over[job.id] = self._under_way.pop(job.id)
        if len(self._over) > KEPT:
            del self._over[next(iter(self._over))]


def _digest(asked: str) -> bytes:
    return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).digest()
