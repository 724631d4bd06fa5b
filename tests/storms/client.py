"""Clients of llmux: each sends its requests with a nonce and writes down what came back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import aiohttp

from storms.judge import Ask, Ending, Json, Kind, Reading, Reply, Verdict, judge, messages, signed

PATIENCE = 660.0
"""Seconds after which an answer that has not come counts as lost: longer than `timeouts.request`, by which llmux has ended every request."""
CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Record:
    """One request and what became of it."""

    ask: Ask
    reply: Reply
    verdict: Verdict
    part: str = ""
    """Of the storm, where it has several."""


@dataclass(frozen=True)
class Manner:
    """How clients ask, and how their answers are read."""

    question: Callable[[int], str] = "Where is lamp {}?".format
    """The prompt of the request of this number."""
    reading: Reading = signed
    patience: float = PATIENCE
    part: str = ""


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

    def __init__(
        self, session: aiohttp.ClientSession, url: str, book: Book, manner: Manner | None = None
    ) -> None:
        self._session = session
        self._url = url
        self._book = book
        self._manner = manner or Manner()
        self._numbers = itertools.count()
        self._run = secrets.token_hex(4)

    def in_manner(self, manner: Manner) -> Client:
        """Return who asks in another manner and writes into the same book."""
        return Client(self._session, self._url, self._book, manner)

    async def ask(
        self,
        model: str,
        *,
        stream: bool = False,
        tokens: int = 8,
        question: str | None = None,
        leave_after: float | None = None,
        leave_at_byte: int | None = None,
    ) -> Record:
        """Send one request, wait for what becomes of it, and write it down.

        The client leaves `leave_after` seconds, or with the first piece in which the answer is `leave_at_byte` bytes long.
        """
        number = next(self._numbers)
        prompt = question or self._manner.question(number)
        ask = Ask(f"{self._run}-{number}", model, prompt, stream, tokens)
        self._book.sent += 1
        try:
            async with asyncio.timeout(leave_after):
                reply = await self._reply(ask, leave_at_byte)
        except TimeoutError:
            reply = Reply(Ending.LEFT)
        record = Record(ask, reply, judge(ask, reply, self._manner.reading), self._manner.part)
        self._book.records.append(record)
        return record

    async def answered(self, model: str) -> Record:
        """Ask until there is an answer: what a patient user does. Raises TimeoutError."""
        async with asyncio.timeout(self._manner.patience):
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

    async def _reply(self, ask: Ask, leave_at_byte: int | None) -> Reply:
        began = time.monotonic()
        body, status, waited = bytearray(), 0, 0.0
        headers: Mapping[str, str] = {}
        try:
            async with asyncio.timeout(self._manner.patience), self._post(ask) as answer:
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
        # The tiny engine signs the one; vLLM makes its answer's id of the other.
        headers = {"x-nonce": ask.nonce, "x-request-id": ask.nonce}
        return self._session.post(self._url + CHAT, json=body | wanted, headers=headers)


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
