"""How much each key has used of what it may: token buckets that are told the time. Pure.

A bucket holds a minute's worth and fills evenly. A request is taken from its bucket as it comes; tokens are taken once an
answer has told how many they were, so that a bucket may come to owe, and whoever owes waits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from llmux.server.access.errors import LimitReached
from llmux.server.access.keys import Key

_MINUTE = 60.0
_LATER = "Ask again in the seconds of Retry-After, or have the key's limit raised (`access.keys`)"
_FIRST_END = "Ask again once another request of this key has ended, or have its limit raised (`access.keys`)"


@dataclass(frozen=True)
class Bucket:
    """So many a minute; `level` is what there was at `at`, by the monotonic clock."""

    capacity: int
    level: float
    at: float

    @classmethod
    def full(cls, capacity: int, now: float) -> Bucket:
        """Return a bucket from which nothing has been taken."""
        return cls(capacity, float(capacity), now)

    def after(self, now: float) -> Bucket:
        """Return the same at a later time."""
        gained = max(0.0, now - self.at) * self.capacity / _MINUTE
        return replace(self, level=min(float(self.capacity), self.level + gained), at=max(now, self.at))

    def take(self, amount: float) -> Bucket:
        """Return the same with `amount` less in it."""
        return replace(self, level=self.level - amount)

    def resized(self, capacity: int, now: float) -> Bucket:
        """Return the same of another size: what was taken of it stays taken."""
        taken = self.capacity - self.after(now).level
        return Bucket(capacity, capacity - taken, now)

    def seconds_until(self, amount: float) -> float:
        """Return how long until there is `amount` in it."""
        return max(0.0, amount - self.level) * _MINUTE / self.capacity


@dataclass
class _Use:
    """What one key has used."""

    requests: Bucket | None = None
    tokens: Bucket | None = None
    in_flight: int = 0


@dataclass(frozen=True)
class Standing:
    """What a key has left, where it is limited, and what it has under way."""

    requests: Bucket | None = None
    tokens: Bucket | None = None
    in_flight: int = 0


@dataclass
class Limiter:
    """All keys' use. Its times are by the monotonic clock."""

    _uses: dict[str, _Use] = field(default_factory=dict)

    def enter(self, key: Key, now: float) -> None:
        """Let a request in. Raises LimitReached, and has taken nothing then."""
        use = self._use(key, now)
        limits = key.limits
        if limits.concurrency is not None and use.in_flight >= limits.concurrency:
            raise LimitReached(key.name, f"{limits.concurrency} requests at a time", 1.0, hint=_FIRST_END)
        if use.tokens and use.tokens.level < 1:
            wait = use.tokens.seconds_until(1)
            raise LimitReached(key.name, f"{limits.tokens} tokens a minute", wait, hint=_LATER)
        if use.requests and use.requests.level < 1:
            wait = use.requests.seconds_until(1)
            raise LimitReached(key.name, f"{limits.requests} requests a minute", wait, hint=_LATER)
        use.requests = use.requests and use.requests.take(1)
        use.in_flight += 1

    def leave(self, key: Key, tokens: int, now: float) -> None:
        """Have a request that was let in end, having taken so many tokens.

        What it is limited to now may be something else than its key was when it came, and stays so.
        """
        self._uses[key.name].in_flight -= 1
        self.take(key, tokens, now)

    def take(self, key: Key, tokens: int, now: float) -> None:
        """Take tokens for a request that is under way."""
        use = self._uses[key.name]
        use.tokens = use.tokens and use.tokens.after(now).take(tokens)

    def standing(self, key: Key, now: float) -> Standing:
        """Return how the key stands."""
        use = self._use(key, now)
        return Standing(use.requests, use.tokens, use.in_flight)

    def headers(self, key: Key, now: float) -> Mapping[str, str]:
        """Return how the key stands, in the headers that OpenAI tells it by; nothing of what is not limited."""
        use, limits = self._uses.get(key.name, _Use()), key.limits
        told = {}
        for name, before, capacity in (
            ("requests", use.requests, limits.requests),
            ("tokens", use.tokens, limits.tokens),
        ):
            if bucket := _bucket(before, capacity, now):
                told[f"x-ratelimit-limit-{name}"] = str(bucket.capacity)
                told[f"x-ratelimit-remaining-{name}"] = str(max(0, math.floor(bucket.level)))
                told[f"x-ratelimit-reset-{name}"] = f"{bucket.seconds_until(bucket.capacity):.3f}s"
        return MappingProxyType(told)

    def keep_only(self, keys: Iterable[Key]) -> None:
        """Forget the keys that are no more; those with requests in flight are forgotten another time."""
        names = {key.name for key in keys}
        self._uses = {name: use for name, use in self._uses.items() if name in names or use.in_flight}

    def _use(self, key: Key, now: float) -> _Use:
        use = self._uses.setdefault(key.name, _Use())
        use.requests = _bucket(use.requests, key.limits.requests, now)
        use.tokens = _bucket(use.tokens, key.limits.tokens, now)
        return use


def _bucket(bucket: Bucket | None, capacity: int | None, now: float) -> Bucket | None:
    if capacity is None:
        return None
    if bucket is None:
        return Bucket.full(capacity, now)
    return bucket.after(now) if bucket.capacity == capacity else bucket.resized(capacity, now)
