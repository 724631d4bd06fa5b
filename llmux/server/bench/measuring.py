"""Many requests to a running llmux: side by side, or one after another where each needs a switch.

    load = Load(client, question)
    await load.run(models, requests, concurrency, seconds, tell)       load.asked has what is over, also where this is interrupted
    switching = Switching(client, question)
    await switching.run(models, switches, seconds, tell)               switching.switches the same

Both return why they ended: Ctrl-C and the end of their time are no errors, what was seen till then counts.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress

from llmux.server import _client_answers
from llmux.server._client import Client, Declined, NotReached, path_of
from llmux.server._client_answers import Slept
from llmux.server.bench.asking import Asker, Question
from llmux.server.bench.figures import Asked, Ended
from llmux.server.bench.stream import read
from llmux.server.bench.switches import KINDS, Switch, Told, attributed

Tell = Callable[[str], None]

_LAST_EVENTS = 2.0
"""Seconds for llmux to tell of what is over."""


async def check(client: Client, models: Sequence[str]) -> None:
    """Raise Declined where one of the models is not there, NotReached where llmux is not."""
    for name in models:
        await client.get(path_of("v1", "models", name))


class Load:
    """So many requests for each model, so many at a time, the models by turns."""

    def __init__(self, client: Client, question: Question) -> None:
        self._asker = Asker(client, question)
        self.asked: list[Asked] = []
        self.begun = 0

    async def run(
        self, models: Sequence[str], requests: int, concurrency: int, seconds: float, tell: Tell
    ) -> Ended:
        """Ask until all is answered or refused, but no longer than `seconds`."""
        turns = enumerate(itertools.chain.from_iterable(itertools.repeat(models, requests)))
        return await _bounded(self._all(turns, concurrency, tell), seconds)

    async def _all(self, turns: Iterator[tuple[int, str]], concurrency: int, tell: Tell) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._some(turns, tell))

    async def _some(self, turns: Iterator[tuple[int, str]], tell: Tell) -> None:
        for number, model in turns:
            self.begun += 1
            self.asked.append(await self._asker.ask(model, number))
            failed = sum(bool(each.problem) for each in self.asked)
            tell(f"{len(self.asked)} answered" + (f", {failed} of them with an error" if failed else ""))


class Switching:
    """One request after another, each for another model than the one before."""

    def __init__(self, client: Client, question: Question) -> None:
        self._client = client
        self._asker = Asker(client, question)
        self._seen: list[tuple[Asked, float | None]] = []
        self._told: list[Told] = []
        self._news = asyncio.Event()
        self.silence = ""
        """Why llmux did not tell its side."""

    @property
    def switches(self) -> tuple[Switch, ...]:
        """Return those that are over."""
        told = attributed([asked.model for asked, _ in self._seen], self._told)
        return tuple(
            Switch(asked, slept, moves) for (asked, slept), moves in zip(self._seen, told, strict=True)
        )

    async def run(self, models: Sequence[str], switches: int, seconds: float, tell: Tell) -> Ended:
        """Ask the models by turns. One alone is put to sleep by hand before each request. Raises Declined where it cannot be."""
        return await _bounded(self._all(models, switches, tell), seconds)

    async def _all(self, models: Sequence[str], switches: int, tell: Tell) -> None:
        listening = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            listener = group.create_task(self._listen(listening))
            await listening.wait()
            for number, model in zip(range(switches), itertools.cycle(models), strict=False):
                tell(f"{number} of {switches} switches")
                slept = await self._put_to_sleep(model) if len(models) == 1 else None
                self._seen.append((await self._asker.ask(model, number), slept))
            await self._until_told()
            listener.cancel()

    async def _put_to_sleep(self, model: str) -> float | None:
        """Return what that took; None where the model did not serve."""
        began = time.monotonic()
        try:
            slept = _client_answers.read(Slept, await self._client.post("/control/sleep", {"model": model}))
        except Declined as error:
            if error.code_ != "illegal_move":
                raise
            return None
        return None if slept.already else time.monotonic() - began

    async def _listen(self, listening: asyncio.Event) -> None:
        path = path_of("control", "events", kind=",".join(KINDS))
        try:
            async with self._client.reply("GET", path) as reply:
                if reply.status != 200:
                    self.silence = f"GET {path} is answered with {reply.status}"
                    return
                listening.set()
                async for line in reply.lines():
                    if line.startswith("data:"):
                        self._told.append(_told(line.removeprefix("data:")))
                        self._news.set()
        except NotReached as error:
            self.silence = str(error)
        finally:
            listening.set()

    async def _until_told(self) -> None:
        """Wait, but not long, until llmux has told of the last request."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_EVENTS):
                while not self.silence and not _complete(self.switches):
                    self._news.clear()
                    await self._news.wait()


def _complete(switches: Sequence[Switch]) -> bool:
    return not switches or switches[-1].moves is not None


def _told(data: str) -> Told:
    event = read(data)
    seconds = event.get("seconds")
    return Told(
        str(event.get("kind", "")),
        str(event.get("model", "")),
        float(seconds) if isinstance(seconds, int | float) else 0.0,
        str(event.get("request", "")),
    )


async def _bounded(work: Coroutine[None, None, None], seconds: float) -> Ended:
    """Do the work, but no longer than this, nor than its user likes. Raises what llmux declines."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return Ended.TIME
    except asyncio.CancelledError:  # Ctrl-C: what has been seen is still to be told
        if task := asyncio.current_task():
            task.uncancel()
        return Ended.INTERRUPTED
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    return Ended.DONE
