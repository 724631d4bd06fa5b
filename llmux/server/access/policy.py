"""Who asks, and whether they may: one decision for each request. Pure.

A key tells who asks, wherever they are. Without keys /v1 is open to whoever reaches the port; without keys and without a
token, the rest is open to who comes by the loopback address. Over a Unix socket the kernel tells who asks, unless that is a
proxy, which asks for others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from msgspec import Struct

from llmux.server.access.errors import ModelNotAllowed, NotAllowed, NotAuthenticated
from llmux.server.access.keys import Key, KeyRing
from llmux.server.access.origin import Peer, foreign, of_other_page, proxied
from llmux.server.access.roles import Right, Role, rights

_CREDENTIALS = frozenset({"authorization", "x-api-key"})
"""The headers that a key comes in, in small letters."""
_SUBPROTOCOLS = "sec-websocket-protocol"
_KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""Before a key, where a browser opens a WebSocket: it can send no headers of its own there (OpenAI's reference of the realtime API)."""
TOKEN = "access.token"  # noqa: S105 - what it is called, not what it is
"""What the control token is called where keys are named."""

_SEND_KEY = "Send a key that llmux knows as `Authorization: Bearer KEY` or `x-api-key: KEY`"
_CONTROL_HINT = "Ask from the machine that llmux runs on, by its loopback address or Unix socket, or configure a key or `access.token`"

_PAGE_HINT = "Configure the page's origin in access.cors_origins"


class Asked(Struct, frozen=True):
    """What is known of a request before it is read."""

    right: Right
    """What its route needs."""
    peer: Peer
    headers: Mapping[str, str]
    scheme: str = "http"

    @property
    def shown(self) -> tuple[str, ...]:
        """Return what was sent as a key, in either header."""
        scheme, _, bearer = self.headers.get("Authorization", "").partition(" ")
        keys = (bearer if scheme.lower() == "bearer" else "", self.headers.get("X-Api-Key", ""))
        return tuple(key.strip() for key in (*keys, *self._of_browser()) if key.strip())

    def _of_browser(self) -> Iterator[str]:
        for protocol in _listed(self.headers.get(_SUBPROTOCOLS, "")):
            if protocol.startswith(_KEY_SUBPROTOCOL):
                yield protocol.removeprefix(_KEY_SUBPROTOCOL)


class Caller(Struct, frozen=True):
    """Who asks, once that is known."""

    name: str
    rights: frozenset[Right]
    key: Key | None = None

    def check_model(self, *names: str) -> None:
        """Refuse a model that goes by none of `names` in what the key may ask for. Raises ModelNotAllowed."""
        if not any(map(self.may_use, names)):
            raise ModelNotAllowed(names[0], self.name, hint="GET /v1/models lists what it may use")

    def may_use(self, model: str) -> bool:
        """Say whether it may ask for a model by this name."""
        return self.key is None or self.key.allows(model)

    @property
    def owner(self) -> str:
        """Return whose the objects are that it has engines make: no key's name is that of anybody else."""
        return f"key {self.name}" if self.key else self.name

    @property
    def priority(self) -> int:
        """Return what is added to a model's priority for its requests."""
        return self.key.priority if self.key else 0


_ANYBODY = Caller("anybody", rights(Role.USE))


@dataclass(frozen=True)
class Access:
    """What is configured of who may do what, with every key read."""

    ring: KeyRing = field(default_factory=KeyRing)
    """The keys, and the token as one of them."""
    admin_uids: frozenset[int] = frozenset({0})
    origins: tuple[str, ...] = ()
    """The origins whose pages may ask, `*` for all."""

    @classmethod
    def of(
        cls,
        keys: Iterable[Key] = (),
        token: bytes | None = None,
        admin_uids: Iterable[int] = (0,),
        origins: tuple[str, ...] = (),
    ) -> Access:
        """Return the same of its parts."""
        admin = () if token is None else (Key(TOKEN, token, Role.ADMIN),)
        return cls(KeyRing((*keys, *admin)), frozenset(admin_uids), origins)

    @cached_property
    def keyed(self) -> bool:
        """Say whether /v1 needs a key."""
        return any(key.name != TOKEN for key in self.ring.keys)

    def hides_credentials(self, caller: Caller) -> bool:
        """Say whether what came as a key was meant for llmux, and is no engine's business."""
        return self.keyed or caller.key is not None

    def binds(self, caller: Caller) -> bool:
        """Say whether it reaches nothing that others have made."""
        return self.keyed and Right.ADMIN not in caller.rights

    def admit(self, asked: Asked, now: float) -> Caller:
        """Return who asks; `now` is in seconds since the epoch. Raises NotAuthenticated and NotAllowed where they may not."""
        caller = self._caller(asked, now)
        if asked.right not in caller.rights:
            raise NotAllowed(caller.name, str(asked.right), hint=_needed(asked.right))
        return caller

    def _caller(self, asked: Asked, now: float) -> Caller:
        if asked.right is Right.OPEN:
            return Caller("anybody", frozenset({Right.OPEN}))
        if key := self._key(asked):
            if key.expired(now):
                raise NotAuthenticated(f"the key {key.name} has expired", hint="Ask for a new one")
            return Caller(key.name, rights(key.role), key)
        if asked.peer.uid is not None and not proxied(asked.headers):
            role = Role.ADMIN if asked.peer.uid in self.admin_uids else Role.USE
            return Caller(str(asked.peer), rights(role))
        if asked.right is Right.USE and not self.keyed:
            if why := of_other_page(asked.headers, self.origins):
                raise NotAllowed(f"{asked.peer}: {why}", str(asked.right), hint=_PAGE_HINT)
            return _ANYBODY
        if asked.right is Right.KNOWN and not self.keyed and not (self.ring and asked.shown):
            return self._whoever(asked)
        if self.ring:
            why = "no llmux key has this text" if asked.shown else "there is no key in the request"
            raise NotAuthenticated(why, hint=_SEND_KEY)
        return self._local(asked)

    def _key(self, asked: Asked) -> Key | None:
        if not self.ring:
            return None
        return next((key for shown in asked.shown if (key := self.ring.find(shown))), None)

    def _whoever(self, asked: Asked) -> Caller:
        """Return who asks where /v1 is open to anybody."""
        try:
            return _ANYBODY if self.ring else self._local(asked)
        except NotAllowed:
            return _ANYBODY

    def _local(self, asked: Asked) -> Caller:
        """Take who comes by the loopback address for an admin, unless it is a web page that does."""
        peer = asked.peer
        why = foreign(asked.headers, asked.scheme) if peer.is_loopback else proxied(asked.headers)
        if why or not peer.is_loopback:
            who = f"{peer}: {why}" if why else str(peer)
            raise NotAllowed(who, str(asked.right), hint=_CONTROL_HINT)
        return Caller("this machine", rights(Role.ADMIN))


def without_keys(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield a request's headers less what a key may be in."""
    for name, value in headers:
        if name.lower() in _CREDENTIALS:
            continue
        if name.lower() == _SUBPROTOCOLS:
            kept = [each for each in _listed(value) if not each.startswith(_KEY_SUBPROTOCOL)]
            if kept:
                yield name, ", ".join(kept)
        else:
            yield name, value


def _listed(value: str) -> Iterator[str]:
    return (each.strip() for each in value.split(","))


def _needed(right: Right) -> str:
    roles = ", ".join(role for role in Role if right in rights(role))
    return f"That takes a key with one of these roles: {roles}"
