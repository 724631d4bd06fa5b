"""What each role may do, and which route needs which right: one table. Pure."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

__all__ = ["ROUTES", "Right", "Role", "right_for", "rights"]


class Right(StrEnum):
    """What a route needs of who asks."""

    OPEN = "open"
    """Nothing: whoever reaches the port may."""
    KNOWN = "known"
    """To be somebody: any key, and where none is needed, none."""
    USE = "use"
    """Have models answer."""
    OBSERVE = "observe"
    """See how models are; change nothing."""
    CONTROL = "control"
    """Have models sleep and wake."""
    ADMIN = "admin"
    """Change llmux itself, or remove what it keeps."""


class Role(StrEnum):
    """What a key is for."""

    USE = "use"
    OBSERVE = "observe"
    CONTROL = "control"
    ADMIN = "admin"


_RIGHTS: dict[Role, frozenset[Right]] = {
    Role.USE: frozenset({Right.OPEN, Right.KNOWN, Right.USE}),
    Role.OBSERVE: frozenset({Right.OPEN, Right.KNOWN, Right.OBSERVE}),
    Role.CONTROL: frozenset({Right.OPEN, Right.KNOWN, Right.USE, Right.OBSERVE, Right.CONTROL}),
    Role.ADMIN: frozenset(Right),
}

_ASKED_LATELY = 256
_READ = frozenset({"GET", "HEAD"})
_WRITE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_ANY = _READ | _WRITE | {"OPTIONS", "TRACE", "CONNECT"}

ROUTES: tuple[tuple[frozenset[str], str, Right], ...] = (
    (_READ, "/health", Right.OPEN),
    # The page's files hold nothing secret; what it shows, it asks for as whoever looks at it.
    (_READ, "/ui/*", Right.OPEN),
    (_READ, "/", Right.OPEN),  # leads there
    (_ANY, "/v1/*", Right.USE),
    # What vLLM serves for clients beside /v1.
    (_ANY, "/tokenize", Right.USE),
    (_ANY, "/detokenize", Right.USE),
    (_ANY, "/tokenizer_info", Right.USE),
    (_ANY, "/pooling", Right.USE),
    (_ANY, "/classify", Right.USE),
    (_ANY, "/score", Right.USE),
    (_ANY, "/generative_scoring", Right.USE),
    (_ANY, "/rerank", Right.USE),
    (_ANY, "/v2/rerank", Right.USE),
    (_ANY, "/v2/embed", Right.USE),
    (_ANY, "/invocations", Right.USE),
    (_READ, "/control/whoami", Right.KNOWN),
    (_READ, "/metrics", Right.OBSERVE),
    (_READ, "/openapi.json", Right.OBSERVE),
    (_READ, "/control/logs/*", Right.CONTROL),  # an engine may log what it is asked
    (_READ, "/control/*", Right.OBSERVE),
    (_WRITE, "/control/sleep", Right.CONTROL),
    (_WRITE, "/control/wake", Right.CONTROL),
    (_WRITE, "/control/switch", Right.CONTROL),
    (_WRITE, "/control/mode", Right.CONTROL),
    (_WRITE, "/control/pin", Right.CONTROL),
    (_WRITE, "/control/unpin", Right.CONTROL),
    (_WRITE, "/control/eviction", Right.CONTROL),
    (_WRITE, "/control/requests/*", Right.CONTROL),
    (_WRITE, "/control/operations/*", Right.CONTROL),
    (_WRITE, "/control/models/*", Right.CONTROL),
)
"""Methods, path, and the right that is needed. `/*` stands for the path alone and for all below it; the first that fits holds.

Whatever is not named here needs `admin`: to reload, drain, delete checkpoints or change the log's level is for admins.
"""


def rights(role: Role) -> frozenset[Right]:
    """Return what a role may do."""
    return _RIGHTS[role]


@lru_cache(_ASKED_LATELY)
def right_for(method: str, path: str) -> Right:
    """Return what a route needs; `path` is the route's own, as the router knows it, and not what a client wrote."""
    return next(
        (right for methods, route, right in ROUTES if method in methods and _fits(path, route)), Right.ADMIN
    )


def _fits(path: str, route: str) -> bool:
    stem = route.removesuffix("/*")
    return path == stem or (stem != route and path.startswith(f"{stem}/"))
