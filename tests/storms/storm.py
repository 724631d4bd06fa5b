"""A storm, its course, and what is known after it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp

from proof.bench import CHECKPOINTS, ENGINE_FIELDS, Bench, Model, Settings
from proof.containers import Memory
from storms.client import PATIENCE, Book, Client, Manner, Record, open_session
from storms.judge import GOOD, Json, Kind
from storms.place import Place, is_engine_at, is_engine_of, is_llmux, is_shell, place

DEEP = {"weights": "discard", "process": "checkpoint"}
SHALLOW = {"weights": "offload", "process": "keep_running"}
EAGER: Mapping[str, object] = {
    "policy": {"amortization_factor": 0, "min_quantum_ms": 0, "min_active_secs": 0}
}
"""Models switch as soon as anybody waits, so that there are many switches in a short time."""
BRISK: Mapping[str, object] = {"policy": {"min_active_secs": 1, "min_quantum_ms": 500}}
"""llmux's own policy, in less time."""
FORGIVING = {"limit": 10_000, "backoff": 0, "backoff_max": 0}
"""An engine is started again at once, however often it has ended."""
_SERVES = re.compile(r": \S.* -> running$")


@dataclass(frozen=True)
class Weather:
    """What a storm's course works with."""

    client: Client
    place: Place
    models: tuple[str, ...]
    length: int
    """How much of it there is to be: rounds or seconds, as the storm says."""
    dice: random.Random

    async def at_once(self, *work: Coroutine[None, None, object]) -> None:
        """Do several things together."""
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def order(self, call: str, body: Json) -> None:
        """Make a call below /control that may fail in every way."""
        with contextlib.suppress(aiohttp.ClientError, ValueError, ConnectionError):
            await self.client.control(call, body)

    async def in_container(self, *argv: str) -> None:
        """Run a program in the container that may fail."""
        await asyncio.to_thread(self.place.container.attempt, *argv)

    async def until_it_answers(self) -> None:
        """Wait until llmux answers again."""
        await asyncio.to_thread(self.place.llmux.wait_until_it_answers)

    async def until(self, true: Callable[[Mapping[str, str]], bool], seconds: float = 60) -> None:
        """Wait until something is true of the models' states. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not true(await self.states()):  # noqa: ASYNC110 - llmux has no event to wait for
                await asyncio.sleep(0.01)

    async def states(self) -> Mapping[str, str]:
        """Return each model's state."""
        return {name: model["state"] for name, model in (await self.client.states()).items()}

    async def kill_engine(self, model: str) -> bool:
        """Kill a model's engine by SIGKILL; return whether there was one."""
        return bool(await self._signal(signal.SIGKILL, is_engine_of(model)))

    async def kill_engine_at(self, port: int) -> None:
        """Kill the engine that has this port by SIGKILL."""
        await self._signal(signal.SIGKILL, is_engine_at(port))

    async def stop_llmux(self) -> None:
        """Tell llmux by SIGTERM to end, and wait until it has; it is started again."""
        await asyncio.to_thread(self.place.end)

    async def kill_tree(self) -> None:
        """Kill everything that llmux has started: its engines, their workers and their sandboxes, all at once."""
        await self._signal(signal.SIGKILL, lambda line: not is_llmux(line) and not is_shell(line))

    async def fault(self, model: str, kind: str, amount: float = 1) -> None:
        """Let a fault of a model's engine happen, now or at its moment."""
        await self.client.fault(self.place.settings.model(model).port, kind, amount)

    async def fault_soon(self, model: str, kind: str, amount: float = 1) -> None:
        """Let it happen in a moment, when answers are under way."""
        await self.pause(0.2)
        # Who hangs does not answer this either.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self.fault(model, kind, amount)

    async def kill_llmux(self) -> None:
        """Kill llmux by SIGKILL; it is started again."""
        await self._signal(signal.SIGKILL, is_llmux)

    async def reload(self) -> None:
        """Tell llmux by SIGHUP to read its configuration anew."""
        await self._signal(signal.SIGHUP, is_llmux)

    async def _signal(self, number: signal.Signals, which: Callable[[str], bool]) -> int:
        return await asyncio.to_thread(self.place.signal, number, which)


Course = Callable[[Weather], Awaitable[None]]


@dataclass(frozen=True)
class Storm:
    """A course, what it needs, and which codes of verdicts it excuses, by their beginnings; otherwise none are."""

    name: str
    about: str
    course: Course
    short: int
    full: int
    models: int = 2
    awake: int = 1
    eviction: Mapping[str, str] = field(default_factory=lambda: DEEP)
    options: tuple[str, ...] = ()
    """Of each engine's command line."""
    excused: tuple[str, ...] = ()
    fields: Mapping[str, object] = field(default_factory=lambda: EAGER)
    """Of the configuration."""
    model_fields: Mapping[str, object] = field(default_factory=dict)
    """Of each model."""
    fields_of: Callable[[str], Mapping[str, object]] = lambda _name: {}
    """Of the model of this name."""
    prepare: tuple[tuple[str, ...], ...] = ()
    """Programs that are run in the container before llmux starts."""
    may_leave: tuple[str, ...] = ()
    """Beginnings of what may be left behind in the container."""
    sockets_of_start: int = 0
    """In /tmp, that a start of its engine leaves there though nobody listens any more."""
    disk: int = 0
    """Bytes of the file system for checkpoints; 0: the host's."""
    engine: str = "tiny"
    checkpoint: Mapping[str, object] = field(default_factory=dict)
    """Of the configuration's `checkpoint`."""
    patience: float = PATIENCE
    """Seconds after which an answer that has not come counts as lost."""
    farewell: float = 130
    """Seconds in which llmux ends once it is told to, sleeps of models included."""

    def settings(self) -> Settings:
        """Return llmux's configuration for it."""
        fields = {"eviction": self.eviction, "extra_args": self._arguments()}
        models = tuple(
            Model(name, 8001 + number, {**fields, **self.model_fields, **self.fields_of(name)})
            for number, name in enumerate(f"m{number}" for number in range(self.models))
        )
        fields = {"max_awake": self.awake, **self.fields}
        return Settings(self.engine, models, checkpoint=self.checkpoint, fields=fields)

    def _arguments(self) -> list[object]:
        its_own = ENGINE_FIELDS[self.engine].get("extra_args", ["--allow-faults"])
        assert isinstance(its_own, list)
        return [*its_own, *self.options]


def messages_of(log: str) -> Iterator[str]:
    """Yield the messages of llmux's log, which is JSON where nobody sees it; other lines are another's (a sandbox, CRIU)."""
    for line in log.splitlines():
        with contextlib.suppress(ValueError, TypeError, KeyError):
            yield json.loads(line)["message"]


@dataclass(frozen=True)
class Outcome:
    """What a storm leaves."""

    storm: Storm
    book: Book
    seconds: float
    traces: frozenset[str]
    """What can be seen in the container after llmux has ended, and could not before it began."""
    log: str
    """Of llmux."""

    @property
    def switches(self) -> int:
        """How often a model came to serve."""
        return sum(bool(_SERVES.search(message)) for message in messages_of(self.log))

    @property
    def left(self) -> Sequence[str]:
        """What is left behind that nothing explains."""
        found = [each for each in sorted(self.traces) if not each.startswith(self.storm.may_leave or ("\0",))]
        sockets = [each for each in found if each.startswith("socket /tmp/")]
        explained = sockets[: self.storm.sockets_of_start * self.log.count(": cold_start in ")]
        return [each for each in found if each not in explained]

    @property
    def kinds(self) -> Counter[Kind]:
        return Counter(record.verdict.kind for record in self.book.records)

    @property
    def errors(self) -> Counter[str]:
        """Honest errors by their code."""
        return Counter(each.verdict.code for each in self.book.records if each.verdict.kind is Kind.HONEST)

    @property
    def parts(self) -> Sequence[str]:
        """Its parts in their order, where it has any."""
        return [part for part in dict.fromkeys(each.part for each in self.book.records) if part]

    def waits(self, part: str | None = None) -> list[float]:
        """Return the seconds until each answer's head, of one part or of all, sorted."""
        answered = (each for each in self.book.records if each.verdict.kind is Kind.ANSWERED)
        return sorted(each.reply.waited for each in answered if part in {None, each.part})

    def wakes(self) -> dict[str, tuple[int, float]]:
        """Return how many answers came from an engine that was warm, restored or cold, and the longest wait in a queue."""
        found: dict[str, tuple[int, float]] = {}
        for each in self.book.records:
            if each.verdict.kind is Kind.ANSWERED and (wake := each.reply.headers.get("x-llmux-wake")):
                count, longest = found.get(wake, (0, 0.0))
                queued = float(each.reply.headers.get("x-llmux-queue-ms", "0")) / 1000
                found[wake] = (count + 1, max(longest, queued))
        return found

    def faults(self) -> list[str]:
        """Return all that is not as it should be."""
        wrong = [each for each in self.book.records if each.verdict.kind not in GOOD]
        return [
            *(f"{each.verdict.kind}: {each.verdict.why}" for each in wrong),
            *(f"not to be excused: {_told(each)}" for each in self.book.records if self._unexcused(each)),
            *([f"{self.book.lost} requests of which nothing is known"] if self.book.lost else []),
            *([] if self.waits() else ["not a single answer"]),
            *(f"left behind: {trace}" for trace in self.left),
        ]

    def _unexcused(self, record: Record) -> bool:
        code = record.verdict.code
        return bool(code) and not code.startswith(self.storm.excused or ("\0",))


def _told(record: Record) -> str:
    return f"{record.verdict.code} for {record.ask}: {record.reply.body[:500]}"


def break_loose(storm: Storm, here: Bench, length: int, seed: int = 0) -> Outcome:
    """Let a storm take its course, end llmux, and return what is known then. Raises what its course raises."""
    mounts = (Memory(CHECKPOINTS, storm.disk),) if storm.disk else ()
    settings = storm.settings()
    with place(here, settings, mounts, storm.farewell) as there:
        for argv in storm.prepare:
            there.container.exec(*argv)
        before = there.look()
        there.start()
        book = Book()

        async def course() -> float:
            loop = asyncio.get_running_loop()
            began = loop.time()
            async with open_session() as session:
                url = f"http://127.0.0.1:{settings.port}"
                client = Client(session, url, book, Manner(patience=storm.patience))
                names = tuple(model.name for model in settings.models)
                await storm.course(Weather(client, there, names, length, random.Random(seed)))
            return loop.time() - began

        seconds = there.run(course)
        there.stop()
        return Outcome(storm, book, seconds, there.look() - before, there.container.logs())
