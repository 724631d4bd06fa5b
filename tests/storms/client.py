"""Clients of llmux: each sends its requests with a nonce and writes down what came back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from storms.judge import Ask, Ending, Json, Kind, Reply, Verdict, judge, messages

PATIENCE = 120.0
"""Seconds after which an answer that has not come counts as lost."""
CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Record:
    """One request and what became of it."""

    ask: Ask
    reply: Reply
    verdict: Verdict


@dataclass
class Book:
    """All requests of a storm."""

    sent: int = 0
    records: list[Record] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Requests of which nothing is known in the end."""
        return self.sent - len(self.records)


class Client:
    """Sends requests to llmux at a URL; a session that closes each connection, as clients do that come and go."""

    def __init__(self, session: aiohttp.ClientSession, url: str, book: Book) -> None:
        self._session = session
        self._url = url
        self._book = book
        self._numbers = itertools.count()
        self._run = secrets.token_hex(4)

    async def ask(
        self,
        model: str,
        *,
        stream: bool = False,
        tokens: int = 8,
        leave_after: float | None = None,
        leave_at_byte: int | None = None,
        patience: float = PATIENCE,
    ) -> Record:
        """Send one request, wait for what becomes of it, and write it down.

        The client leaves `leave_after` seconds, or with the first piece in which the answer is `leave_at_byte` bytes long.
        """
        number = next(self._numbers)
        ask = Ask(f"{self._run}-{number}", model, f"Where is lamp {number}?", stream, tokens)
        self._book.sent += 1
        try:
            async with asyncio.timeout(leave_after):
                reply = await self._reply(ask, leave_at_byte, patience)
        except TimeoutError:
            reply = Reply(Ending.LEFT)
        record = Record(ask, reply, judge(ask, reply))
        self._book.records.append(record)
        return record

    async def answered(self, model: str) -> Record:
        """Ask until there is an answer: what a patient user does. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while True:
                record = await self.ask(model)
                if record.verdict.kind is Kind.ANSWERED:
                    return record
                await asyncio.sleep(0.2)

    async def control(self, call: str, body: Json) -> tuple[int, Json]:
        """Make a call below /control; its errors are the caller's to judge."""
        async with self._session.post(f"{self._url}/control/{call}", json=body) as answer:
            return answer.status, await answer.json()

    async def fault(self, port: int, kind: str, amount: float = 1) -> None:
        """Let a fault of the tiny engine at a port happen, now or at its moment; it may take the answer along."""
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            url = f"http://127.0.0.1:{port}/fault"
            async with self._session.post(url, json={"kind": kind, "amount": amount}) as answer:
                assert answer.status == 200, await answer.text()

    async def states(self) -> Mapping[str, Json]:
        """Return each model's part of the status."""
        async with self._session.get(f"{self._url}/control/status") as answer:
            models: Mapping[str, Json] = (await answer.json())["models"]
            return models

    async def _reply(self, ask: Ask, leave_at_byte: int | None, patience: float) -> Reply:
        began = time.monotonic()
        body, status, waited = bytearray(), 0, 0.0
        headers: Mapping[str, str] = {}
        try:
            async with asyncio.timeout(patience), self._post(ask) as answer:
                status, headers, waited = answer.status, dict(answer.headers), time.monotonic() - began
                ending = await _read(answer, body, leave_at_byte)
        except TimeoutError:
            ending = Ending.LATE
        except aiohttp.ClientConnectorError:
            ending = Ending.REFUSED
        except (aiohttp.ClientError, ConnectionError):
            ending = Ending.BROKEN
        text = body.decode("utf-8", "replace")
        return Reply(ending, status, headers, text, waited, time.monotonic() - began)

    def _post(self, ask: Ask) -> aiohttp.client._RequestContextManager:
        body = {"model": ask.model, "messages": messages(ask), "stream": ask.stream, "max_tokens": ask.tokens}
        wanted = {"temperature": 0, "ignore_eos": True}
        return self._session.post(self._url + CHAT, json=body | wanted, headers={"x-nonce": ask.nonce})


async def _read(answer: aiohttp.ClientResponse, body: bytearray, leave_at_byte: int | None) -> Ending:
    async for chunk in answer.content.iter_any():
        body += chunk
        if leave_at_byte is not None and len(body) >= leave_at_byte:
            answer.close()
            return Ending.LEFT
    return Ending.WHOLE


def open_session() -> aiohttp.ClientSession:
    """Return a session for any number of clients."""
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
