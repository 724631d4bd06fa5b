"""The API process's side of the worker: requests out, tokens in as text, utility calls."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing.context import SpawnProcess

import zmq
import zmq.asyncio

from llmux.tiny_engine._endpoints import Endpoints
from llmux.tiny_engine._messages import (
    Adapter,
    Add,
    Call,
    End,
    Finish,
    Output,
    Reply,
    Sampling,
    Status,
    decode_output,
    decode_reply,
    encode,
)
from llmux.tiny_engine._ring import RingWriter
from llmux.tiny_engine._text import TextStream
from llmux.tiny_engine._tokenizer import Tokenizer
from llmux.tiny_engine.errors import MissingError, NotReadyError, TinyEngineError, WorkerDiedError


@dataclass(frozen=True)
class TokenLogprob:
    """A token and how likely it was."""

    data: bytes
    logprob: float


@dataclass(frozen=True)
class Piece:
    """A bit of the answer; `tokens` counts those it took, `finish` is set on the last piece."""

    text: str
    tokens: int
    finish: Finish | None
    stop: str | None = None
    """The stop string that ended it."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Its token's, and those of the likeliest ones, where they were asked for."""
    index: int = 0
    """Which of several answers to one request it is of."""


@dataclass(frozen=True)
class EngineParts:
    """What an engine is put together from."""

    process: SpawnProcess
    endpoints: Endpoints
    ring: RingWriter
    tokenizer: Tokenizer
    on_gpu: bool = False


class EngineClient:
    """Talks with the worker. `receive` must run for as long as anything is asked."""

    def __init__(self, parts: EngineParts) -> None:
        self._process = parts.process
        self._ring = parts.ring
        self._tokenizer = parts.tokenizer
        self._context = zmq.asyncio.Context()
        self._requests = self._context.socket(zmq.PUSH)
        self._requests.set_hwm(0)
        self._requests.bind(parts.endpoints.requests)
        self._outputs = self._context.socket(zmq.PULL)
        self._outputs.set_hwm(0)
        self._outputs.connect(parts.endpoints.outputs)
        self._utility = self._context.socket(zmq.DEALER)
        self._utility.connect(parts.endpoints.utility)
        self._streams: dict[str, asyncio.Queue[Output]] = {}
        self._replies: dict[int, asyncio.Future[Reply]] = {}
        self._calls = count(1)
        self._one_call = asyncio.Lock()
        self._asleep: tuple[str, ...] = ()
        self.dead: WorkerDiedError | None = None
        self.answered = 0

    def close(self) -> None:
        self._context.destroy(linger=0)

    async def receive(self) -> None:
        """Pass on what the worker sends, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive_outputs())
            group.create_task(self._receive_replies())

    def worker_died(self) -> None:
        """Fail all that waits, and all that is asked from now on."""
        self.dead = WorkerDiedError(self._process.exitcode)
        for request, queue in self._streams.items():
            queue.put_nowait(Output(request, finish=Finish.ERROR, message=self.dead.message))
        for waiting in self._replies.values():
            if not waiting.done():
                waiting.set_exception(self.dead)

    def abort_all(self) -> None:
        """End all running answers where they are."""
        for request, queue in self._streams.items():
            queue.put_nowait(Output(request, finish=Finish.ABORT))

    async def generate(
        self,
        request: str,
        prompt: Sequence[int],
        sampling: Sampling,
        stops: Sequence[str],
        adapter: Adapter | None,
    ) -> AsyncGenerator[Piece]:
        """Stream an answer; closing the iterator early aborts the request in the worker.

        Raises NotReadyError, BusyError, WorkerDiedError.
        """
        self._require_awake()
        slot = self._ring.put(prompt)
        queue = self._streams[request] = asyncio.Queue[Output]()
        text = TextStream(stops)
        running = True
        try:
            await self._requests.send(encode(Add(request, slot, len(prompt), sampling, adapter)))
            while running:
                output = await queue.get()
                running = output.finish is None
                piece = self._piece(output, text)
                if text.stopped and running:
                    running = False
                    await self._requests.send(encode(End(request, aborted=False)))
                self.answered += piece.finish in {Finish.STOP, Finish.LENGTH}
                yield piece
        finally:
            del self._streams[request]
            if running and self.dead is None:
                await self._requests.send(encode(End(request, aborted=True)))

    async def sleep(self, level: int, mode: str) -> None:
        """Put the worker to sleep; from this moment on new requests are refused."""
        before, self._asleep = self._asleep, ("weights", "kv_cache")
        try:
            await self._ask(Call("sleep", level=level, mode=mode))
        except TinyEngineError:
            self._asleep = before
            raise

    async def wake_up(self, tags: tuple[str, ...]) -> None:
        await self._ask(Call("wake_up", tags=tags))

    async def load_adapter(self, adapter: Adapter) -> None:
        """Have the worker read an adapter. Raises MissingError where its files are not there, TinyEngineError."""
        await self._ask(Call("load_adapter", adapter=adapter))

    async def unload_adapter(self, name: str) -> None:
        await self._ask(Call("unload_adapter", adapter=Adapter(name, "")))

    async def set_amount(self, method: str, amount: float) -> None:
        """Make a call that takes a number."""
        await self._ask(Call(method, amount=amount))

    def signal_worker(self, number: signal.Signals) -> None:
        if self._process.pid is not None:
            os.kill(self._process.pid, number)

    async def call(self, method: str) -> Status:
        """Make a utility call without arguments. Raises TinyEngineError if the worker refuses."""
        return await self._ask(Call(method))

    async def embed(self, tokens: Sequence[int]) -> tuple[float, ...]:
        """Return a text as a direction. Raises NotReadyError, WorkerDiedError."""
        self._require_awake()
        return (await self._answered(Call("embed", tokens=tuple(tokens)))).vector

    async def look(self) -> Mapping[str, str | int]:
        """Look at all that is on the device; return what it is. Raises TinyEngineError where something is not as it was."""
        return (await self._answered(Call("look"))).device

    async def is_sleeping(self) -> bool:
        return bool((await self._ask(Call("status"))).asleep)

    def _require_awake(self) -> None:
        if self.dead is not None:
            raise self.dead
        if self._asleep:
            raise NotReadyError(f"the engine is asleep ({', '.join(self._asleep)})", "POST /wake_up first")

    def _piece(self, output: Output, text: TextStream) -> Piece:
        if output.finish is Finish.ERROR:
            raise self.dead or NotReadyError(output.message, output.hint)
        data = b"" if output.token is None else self._tokenizer.token_bytes(output.token)
        certain = text.feed(data, final=output.finish is not None)
        finish = Finish.STOP if text.stopped else output.finish
        logprobs = tuple(
            TokenLogprob(self._tokenizer.token_bytes(token), logprob) for token, logprob in output.logprobs
        )
        return Piece(certain, int(output.token is not None), finish, text.stop, logprobs)

    async def _ask(self, call: Call) -> Status:
        return (await self._answered(call)).status

    async def _answered(self, call: Call) -> Reply:
        async with self._one_call:
            if self.dead is not None:
                raise self.dead
            reply = await self._sent(replace(call, call=next(self._calls)))
        self._asleep = reply.status.asleep
        if reply.missing:
            raise MissingError(reply.error, reply.hint)
        if reply.error:
            raise TinyEngineError(reply.error, reply.hint)
        return reply

    async def _sent(self, call: Call) -> Reply:
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._replies[call.call] = waiting
        await self._utility.send(encode(call))
        try:
            return await waiting
        finally:
            del self._replies[call.call]

    async def _receive_outputs(self) -> None:
        while True:
            output = decode_output(await self._outputs.recv())
            if output.request in self._streams:
                self._streams[output.request].put_nowait(output)

    async def _receive_replies(self) -> None:
        while True:
            reply = decode_reply(await self._utility.recv())
            waiting = self._replies.get(reply.call)
            if waiting is not None and not waiting.done():
                waiting.set_result(reply)
