"""One request of a benchmark, timed from its sending to the end of its answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

from llmux.server._client import Client, Json, NotReached, Reply
from llmux.server.bench.figures import Asked
from llmux.server.bench.stream import BROKEN_OFF, Stream, code_of, message_of, read, tokens_of

NOT_REACHED = "not_reached"
TIMED_OUT = "timed_out"
_PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
_PROMPT = "Tell the story of lighthouse number {}, and of who keeps it."
"""Another one for each request: an engine that keeps what it has computed for a prompt must compute these."""

Api = Literal["chat", "completions"]


@dataclass(frozen=True)
class Question:
    """What every request asks."""

    api: Api = "chat"
    prompt: str | None = None
    max_tokens: int = 64
    stream: bool = True
    timeout: float = 600.0
    """Seconds for one answer."""

    @property
    def path(self) -> str:
        """Return where it is asked."""
        return _PATHS[self.api]

    def body(self, model: str, number: int) -> Json:
        """Return the request of this number."""
        text = _PROMPT.format(number) if self.prompt is None else self.prompt
        said: Json = (
            {"messages": [{"role": "user", "content": text}]} if self.api == "chat" else {"prompt": text}
        )
        streamed: Json = (
            {"stream": True, "stream_options": {"include_usage": True}} if self.stream else {"stream": False}
        )
        return {"model": model, "max_tokens": self.max_tokens, **said, **streamed}


@dataclass
class _Seen:
    """What has been seen of an answer."""

    status: int = 0
    first_token: float | None = None
    tokens: int | None = None
    problem: str = ""
    message: str = ""
    queued: float | None = None
    wake: str = ""


class Asker:
    """Asks one llmux the same question again and again."""

    def __init__(self, client: Client, question: Question) -> None:
        self._client = client
        self._question = question
        self._began = time.monotonic()

    async def ask(self, model: str, number: int) -> Asked:
        """Ask once. Whatever goes wrong is told as a problem."""
        began, seen = time.monotonic(), _Seen()
        try:
            async with asyncio.timeout(self._question.timeout):
                await self._answered(model, number, seen, began)
        except TimeoutError:
            seen.problem = TIMED_OUT
        except NotReached as error:
            seen.message = error.reason
            seen.problem = BROKEN_OFF if seen.status else NOT_REACHED
        return Asked(
            model,
            began=began - self._began,
            seconds=time.monotonic() - began,
            problem=seen.problem,
            message=seen.message,
            first_token=seen.first_token,
            tokens=seen.tokens,
            queued=seen.queued,
            wake=seen.wake,
        )

    async def _answered(self, model: str, number: int, seen: _Seen, began: float) -> None:
        body = self._question.body(model, number)
        async with self._client.reply("POST", self._question.path, body) as reply:
            seen.status = reply.status
            queued = reply.headers.get("x-llmux-queue-ms", "")
            seen.queued = int(queued) / 1000 if queued.isdecimal() else None
            seen.wake = reply.headers.get("x-llmux-wake", "")
            if reply.status >= 400 or not self._question.stream:
                _take_whole(reply.status, await reply.text(), seen)
            else:
                await _take_pieces(reply, seen, began)


def _take_whole(status: int, text: str, seen: _Seen) -> None:
    body = read(text)
    if status >= 400 or not body:
        seen.message = message_of(body)
        seen.problem = code_of(body, f"http_{status}" if status >= 400 else BROKEN_OFF)
    else:
        seen.tokens = tokens_of(body)


async def _take_pieces(reply: Reply, seen: _Seen, began: float) -> None:
    stream = Stream()
    async for line in reply.lines():
        if stream.take(line) and seen.first_token is None:
            seen.first_token = time.monotonic() - began
    seen.tokens, seen.problem, seen.message = stream.tokens, stream.problem, stream.message
