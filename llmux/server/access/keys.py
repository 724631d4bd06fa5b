"""API keys: what one may do, and which one was shown. Pure.

A key is random and long, so one SHA-256 of it is as good as a slow hash: nobody can go through all keys there are. What
is kept is the digest alone, and compared in constant time.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from llmux.server.access.roles import Role

PREFIX = "llmux-"
"""How keys that `llmux key` makes begin, so that they are found where they should not be."""
SHORTEST = 24
"""Characters of a key that is taken from a file or the environment; a shorter one could be guessed from its digest."""

_HASH = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Limits:
    """How much a key may ask for; None: as much as it likes."""

    requests: int | None = None
    """In a minute."""
    tokens: int | None = None
    """In a minute, those read and those written."""
    concurrency: int | None = None
    """At a time."""


@dataclass(frozen=True)
class Key:
    """One key and what it may do."""

    name: str
    digest: bytes = field(repr=False)
    role: Role = Role.USE
    models: tuple[str, ...] | None = None
    """Names and patterns of models; None: all."""
    limits: Limits = Limits()
    priority: int = 0
    expires: float | None = None
    """In seconds since the epoch."""

    def expired(self, now: float) -> bool:
        """Say whether it holds no longer; `now` is in seconds since the epoch."""
        return self.expires is not None and now >= self.expires

    def allows(self, model: str) -> bool:
        """Say whether it may ask for a model by this name."""
        return self.models is None or any(fnmatch.fnmatchcase(model, pattern) for pattern in self.models)


class KeyRing:
    """The keys that hold, found by what a client shows."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.keys = tuple(keys)
        self._by_digest = {key.digest: key for key in self.keys}

    def __bool__(self) -> bool:
        return bool(self.keys)

    def find(self, shown: str) -> Key | None:
        """Return the key whose text is `shown`, expired or not."""
        presented = digest(shown)
        # Looking a digest up tells its time only about digests, which nobody can choose.
        key = self._by_digest.get(presented)
        return key if key and hmac.compare_digest(key.digest, presented) else None


def digest(text: str) -> bytes:
    """Return what is kept of a key."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def hash_of(text: str) -> str:
    """Return a key's digest as the configuration has it."""
    return f"sha256:{digest(text).hex()}"


def digest_in(text: str) -> bytes | None:
    """Return the digest that a text such as `sha256:...` states; None where it is no such text."""
    stated = _HASH.fullmatch(text)
    return bytes.fromhex(stated[1]) if stated else None
