"""Who asks and what they may do, so that a program or a page offers that and no more."""

from __future__ import annotations

from http import HTTPStatus
from importlib.metadata import version
from typing import Literal

from aiohttp import web

from llmux.server import _page
from llmux.server._gate import caller_of, standing_of
from llmux.server._web import STARTED
from llmux.server.access.limits import Bucket, Standing
from llmux.server.access.roles import Right, Role, rights
from llmux.server.control._answers import Count, Instant, Seconds
from llmux.server.control._form import Answer, Call, answer
from llmux.server.control._told_parts import iso

VERSION = version("llmux")  # now: it is read from files

Granted = Literal[Right.USE, Right.OBSERVE, Right.CONTROL, Right.ADMIN]
GRANTED: tuple[Granted, ...] = (Right.USE, Right.OBSERVE, Right.CONTROL, Right.ADMIN)


class Allowance(Answer):
    """How much may be used in a minute, and is left."""

    per_minute: Count
    left: Count
    full_in_seconds: Seconds
    """When nothing is taken any more, all of it is there again."""


class AtATime(Answer):
    """How many requests may be under way together, and are."""

    most: Count
    under_way: Count


class LimitsTold(Answer):
    """What limits there are; null: none."""

    requests: Allowance | None
    tokens: Allowance | None
    concurrency: AtATime | None


class LlmuxTold(Answer):
    """Which llmux answers."""

    version: str
    started_at: Instant
    """Another time than before: it was started again, and numbers its events anew."""
    page: str
    """The same as long as the files of /ui/ are: a page that has known another is to be loaded again."""


class WhoAmI(Answer):
    """Who asks, as llmux knows them."""

    name: str
    """Of the key; without one, what is known of the caller in words."""
    keyed: bool
    """By a key, or the token."""
    role: Role
    rights: tuple[Granted, ...]
    """docs/access.md says which call takes which."""
    models: tuple[str, ...] | None
    """The names and patterns of the models that may be asked; null: all."""
    priority: int
    """What is added to a model's priority."""
    expires_at: Instant | None
    """When the key expires, if ever."""
    limits: LimitsTold
    llmux: LlmuxTold


async def whoami(request: web.Request) -> web.Response:
    """Say who asks, what they may do, and how much of it is left. Takes no right: every key may ask, and who needs none."""
    caller = caller_of(request)
    key = caller.key
    return answer(
        WhoAmI(
            name=caller.name,
            keyed=key is not None,
            role=next(role for role in Role if rights(role) == caller.rights),
            rights=tuple(each for each in GRANTED if each in caller.rights),
            models=key and key.models,
            priority=caller.priority,
            expires_at=iso(key.expires) if key and key.expires is not None else None,
            limits=_limits(standing_of(request), key.limits.concurrency if key else None),
            llmux=LlmuxTold(
                version=VERSION,
                started_at=iso(request.app[STARTED]),
                page=request.app[_page.PAGE].digest,
            ),
        )
    )


def _limits(standing: Standing, most: int | None) -> LimitsTold:
    return LimitsTold(
        requests=_allowance(standing.requests),
        tokens=_allowance(standing.tokens),
        concurrency=None if most is None else AtATime(most=most, under_way=standing.in_flight),
    )


def _allowance(bucket: Bucket | None) -> Allowance | None:
    if bucket is None:
        return None
    full = round(bucket.seconds_until(bucket.capacity), 3)
    return Allowance(per_minute=bucket.capacity, left=max(0, int(bucket.level)), full_in_seconds=full)


CALLS = (Call("GET", "/control/whoami", whoami, {HTTPStatus.OK: WhoAmI}),)
