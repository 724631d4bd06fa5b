"""Faults on demand, for tests of whoever watches an engine: POST /fault {"kind": KIND, "amount": NUMBER}, or --fault at start."""

import os
import signal
from asyncio import Event
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar, assert_never

from aiohttp import web

from llmux.tiny_engine._client import EngineClient
from llmux.tiny_engine._protocol import bad_request, parse_object

_Piece = TypeVar("_Piece")


class Kind(StrEnum):
    """What goes wrong; `amount` counts from 1 where it counts."""

    CRASH_API = "crash_api"  # the API process is killed
    CRASH_WORKER = "crash_worker"  # the worker is killed
    HANG_API = "hang_api"  # the API process answers nothing any more, SIGTERM neither
    HANG_WORKER = "hang_worker"  # the worker is stopped: /health is good, requests get no answer
    GARBAGE_BODY = "garbage_body"  # the next `amount` answers are 200 with a body that is no JSON
    GARBAGE_HTTP = "garbage_http"  # the next `amount` answers are no HTTP
    STALL = "stall"  # the next answers stop before their token `amount`, their connections stay open
    SLOW = "slow"  # each token takes at least `amount` seconds
    GROW = "grow"  # the worker takes `amount` more bytes of memory
    EXIT_AT_SLEEP = "exit_at_sleep"  # the engine exits with code 3 when it is asked to sleep
    EXIT_AT_WAKE = "exit_at_wake"  # the same when it is asked to wake
    HANG_AT_SLEEP = "hang_at_sleep"  # /sleep is never answered
    HANG_AT_WAKE = "hang_at_wake"  # /wake_up is never answered
    NONE = "none"  # no more of them


EXIT_CODE: Final = 3
_GARBAGE: Final = b"\x00\xff\xfe is no answer\r\n\r\n"


@dataclass(frozen=True)
class Fault:
    """One fault; `amount` of tokens, answers, seconds or bytes, as its kind says."""

    kind: Kind
    amount: float = 1


def parse_fault(text: str) -> Fault:
    """Read KIND or KIND=AMOUNT. Raises ValueError."""
    kind, _, amount = text.partition("=")
    return Fault(Kind(kind), _checked(float(amount or 1)))


class Faults:
    """The faults that wait for their moment."""

    def __init__(self, engine: EngineClient) -> None:
        self._engine = engine
        self._armed: dict[Kind, float] = {}

    async def handle(self, request: web.Request) -> web.Response:
        """Answer POST /fault."""
        body = parse_object(await request.read())
        kind, amount = body.get("kind"), body.get("amount", 1)
        if not isinstance(kind, str) or kind not in set(Kind):
            raise bad_request(f"kind is {kind!r}, must be one of {', '.join(Kind)}", "kind")
        if isinstance(amount, bool) or not isinstance(amount, int | float):
            raise bad_request(f"amount is {amount!r}, must be a number", "amount")
        try:
            await self.happen(Fault(Kind(kind), _checked(amount)))
        except ValueError as error:
            raise bad_request(f"amount is {amount!r}, must be 0 or more and finite", "amount") from error
        return web.Response()

    async def happen(self, fault: Fault) -> None:
        """Let a fault happen, now or at its moment."""
        match fault.kind:
            case Kind.CRASH_API:
                os.kill(os.getpid(), signal.SIGKILL)
            case Kind.CRASH_WORKER:
                self._engine.signal_worker(signal.SIGKILL)
            case Kind.HANG_API:
                _hang()
            case Kind.HANG_WORKER:
                self._engine.signal_worker(signal.SIGSTOP)
            case Kind.SLOW | Kind.GROW:
                await self._engine.set_amount(fault.kind.value, fault.amount)
            case Kind.NONE:
                self._armed.clear()
            case (
                Kind.GARBAGE_BODY
                | Kind.GARBAGE_HTTP
                | Kind.STALL
                | Kind.EXIT_AT_SLEEP
                | Kind.EXIT_AT_WAKE
                | Kind.HANG_AT_SLEEP
                | Kind.HANG_AT_WAKE
            ):
                self._armed[fault.kind] = fault.amount
            case _:
                assert_never(fault.kind)

    async def at_sleep(self) -> None:
        await self._at(Kind.EXIT_AT_SLEEP, Kind.HANG_AT_SLEEP)

    async def at_wake(self) -> None:
        await self._at(Kind.EXIT_AT_WAKE, Kind.HANG_AT_WAKE)

    async def _at(self, leave: Kind, hang: Kind) -> None:
        if leave in self._armed:
            os._exit(EXIT_CODE)
        if hang in self._armed:
            await Event().wait()

    def garbage(self, request: web.Request) -> web.Response | None:
        """Answer with garbage if that is due."""
        if self._due(Kind.GARBAGE_HTTP) and request.transport:
            request.transport.write(_GARBAGE)
            request.transport.close()
            return web.Response()
        if self._due(Kind.GARBAGE_BODY):
            return web.Response(body=_GARBAGE, content_type="application/json")
        return None

    def _due(self, kind: Kind) -> bool:
        left = self._armed.pop(kind, 0)
        if left > 1:
            self._armed[kind] = left - 1
        return left >= 1

    async def stalled(self, pieces: AsyncGenerator[_Piece]) -> AsyncGenerator[_Piece]:
        """Pass pieces on until the stall, if there is to be one."""
        passed = 0
        async with aclosing(pieces):
            async for piece in pieces:
                passed += 1
                if passed >= self._armed.get(Kind.STALL, passed + 1):
                    await Event().wait()
                yield piece


def _hang() -> None:
    while True:
        signal.pause()


def _checked(amount: float) -> float:
    if not 0 <= amount < float("inf"):
        raise ValueError(amount)
    return amount
