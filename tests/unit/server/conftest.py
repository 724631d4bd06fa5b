"""A model's hands without processes: the engine is a real aiohttp server in this loop, and each step can be told to fail."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from blockbuster import blockbuster_ctx
from yarl import URL

from llmux.server._driver import Driver
from llmux.server._hands import Stored
from llmux.server._life import open_proxy_session
from llmux.server._model import Eviction, NotStarted, Process, Weights
from llmux.server._record import Model, Replica
from llmux.server._rules import Drain, Rules, Sizes
from llmux.server._wire import Wire
from llmux.server.errors import Problem, StartRefused
from llmux.server.scheduling.fifo import Fifo
from stand_in_driver import StandIn, nvml

DISK = Eviction(Weights.DISCARD, Process.CHECKPOINT)
WARM = Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING)
STOP = Eviction(Weights.DISCARD, Process.STOP)
NOWHERE = URL("http://127.0.0.1:9")
STORED = Stored(Path("/images"), 7, 1000.0, 1, DISK, 0.5)


@dataclass
class FakeLife:
    """An engine that answers at `url`, if it answers at all."""

    number: int
    url: URL
    session: aiohttp.ClientSession
    hands: FakeHands
    pid: int = 1000
    init_pid: int = 1
    started_at: float = 1000.0
    log: Path = Path("/log")
    closed: bool = False
    asleep: bool = False
    deaf: bool = False
    """It answers nothing, /health neither."""
    _exit: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.wire = Wire(self.url, self.session, 1.0)

    def ask(self, method, target, headers, body):
        return self.wire.ask(method, target, headers, body)

    @property
    def ended(self) -> bool:
        return self._exit.is_set()

    def die(self) -> None:
        self._exit.set()

    async def wait(self) -> Problem:
        await self._exit.wait()
        await self.hands.step("wait")
        return Problem("engine_exited", "the engine ended with exit code 1", "its last lines: boom")

    async def fault(self) -> str:
        await self.hands.step("fault")
        return "no answer" if self.deaf or self.ended or self.session.closed else ""

    async def post_mortem(self, fault: str) -> Problem:
        return await self.wait() if self.ended else Problem("engine_hung", f"the engine hangs: {fault}")

    async def quieten(self, _weights: Weights) -> None:
        await self.hands.step("quieten")
        self.asleep = True

    async def suspend(self, _weights: Weights) -> None:
        await self.hands.step("suspend")
        self.hands.suspended += 1

    async def resume(self, _weights: Weights) -> None:
        await self.hands.step("resume")
        self.asleep = False

    async def put_by(self) -> None:
        self.hands.put_by += 1

    async def dump(self, _directory: Path) -> None:
        await self.hands.step("dump")

    async def memory(self) -> int:
        return self.hands.memory

    async def gpu_memory(self) -> int | None:
        return self.hands.on_gpu

    async def close(self) -> None:
        self.closed = True
        self._exit.set()
        await self.session.close()  # first: it waits for nothing, and is closed even where this is cancelled
        await self.wire.close()
        await self.hands.step("close")


@dataclass
class FakeHands:
    """`broken` names the steps that fail; a step in `gates` waits until its event is set."""

    url: URL = NOWHERE
    eviction: Eviction = DISK
    drain_timeout: float = 5.0
    stored: Stored | Problem | None = None
    left: tuple[Eviction | None] | None = None
    """How an engine sleeps that an earlier llmux has left, if there is one."""
    broken: set[str] = field(default_factory=set)
    fault: Exception | None = None
    """What a broken step raises instead of an error of our own."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    lives: list[FakeLife] = field(default_factory=list)
    memory: int = 1 << 20
    on_gpu: int | None = None
    put_by: int = 0
    """How often an engine was told that it is about to be stopped."""
    suspended: int = 0
    """How often an engine has left its GPUs."""
    has_driver: bool = False
    """Whether NVIDIA's driver is there."""
    again: Stored | None = None
    """A checkpoint that can be used again."""

    async def step(self, name: str) -> None:
        if name in self.gates:
            await self.gates[name].wait()
        if name in self.broken:
            raise self.fault or StartRefused(f"{name} is broken", hint="mend it")

    def refusal(self, eviction: Eviction) -> str:
        refused = eviction.process is Process.CUDA_SUSPEND and not self.has_driver
        return "no driver" if refused else ""

    async def adopt(self) -> tuple[FakeLife, Eviction | None] | None:
        return None if self.left is None else (self._new_life(), *self.left)

    def take(self, life: FakeLife) -> None:
        life.hands = self

    async def find(self) -> Stored | Problem | None:
        return self.stored

    async def cold_start(self) -> FakeLife:
        await self.step("cold_start")
        return self._new_life()

    async def dump(self, life: FakeLife, _eviction: Eviction, _began: float) -> Stored:
        await life.dump(Path("/images"))
        self.stored = STORED
        return STORED

    async def reusable(self, _life: FakeLife, eviction: Eviction) -> Stored | None:
        return self.again if self.again and self.again.eviction == eviction else None

    async def restore(self) -> tuple[FakeLife, Stored | None]:
        await self.step("restore")
        assert isinstance(self.stored, Stored)
        return self._new_life(), self.stored

    async def forget(self) -> None:
        await self.step("forget")
        self.stored = None

    def _new_life(self) -> FakeLife:
        life = FakeLife(len(self.lives) + 1, self.url, open_proxy_session(keeps=True), self)
        self.lives.append(life)
        return life


def make_model(name, *hands, **rules):
    """Return a model with these hands, one replica for each."""
    first = hands[0]
    drain = Drain(first.drain_timeout, rules.pop("then", Drain().then))
    rules["max_waiting"] = rules.pop("max_waiting_each", Rules().max_waiting)
    names = [name, *(f"{name}@{number}" for number in range(2, len(hands) + 1))]
    replicas = tuple(
        Replica(each, name, hand, NotStarted(since=0.0), Sizes({"awake": 1}))
        for each, hand in zip(names, hands, strict=True)
    )
    return Model(name, Rules(eviction=first.eviction, drain=drain, **rules), replicas)


@pytest.fixture
def make_driver():
    """Give a function that makes a driver for hands by their models' names, with the same rules for all."""

    def make(hands, max_awake=None, policy=None, max_waiting=1000, **rules):
        models = [
            make_model(name, *(each if isinstance(each, list) else [each]), **rules)
            for name, each in hands.items()
        ]
        return Driver(
            models, policy or Fifo(), {} if max_awake is None else {"awake": max_awake}, max_waiting
        )

    return make


@pytest.fixture
def pycriu_for_the_library(monkeypatch):
    """Let the library's own process find CRIU's Python package where this one does."""
    spec = importlib.util.find_spec("pycriu")
    assert spec
    assert spec.origin
    monkeypatch.setenv("PYTHONPATH", str(Path(spec.origin).parents[1]), prepend=os.pathsep)


@pytest.fixture(autouse=True)
def the_log_stays_as_loud():
    """Take back what a test sets by /control/log-level: it is of the whole process."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop():
    with blockbuster_ctx("llmux") as blockbuster:
        # A program's start, which takes as long within asyncio's own loop, where it may.
        blockbuster.functions["os.read"].can_block_in("subprocess.py", "_execute_child")
        yield


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Give the stand-in for NVIDIA's driver; what is started from then on finds it."""
    directory = tmp_path / "driver"
    directory.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    driver = StandIn(directory, monkeypatch.setenv)
    yield driver
    driver.close()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Give a machine with two GPUs, as the stand-in for NVML tells of it in this process."""
    said = nvml.StandInNvml(tmp_path / "nvml", gpus=2)
    monkeypatch.setenv(nvml.SAID, str(said.said))
    nvml.load(monkeypatch)
    return said


@pytest.fixture
def stored():
    return STORED


@pytest.fixture
def make_hands():
    return FakeHands


@pytest.fixture
async def serve() -> AsyncIterator[object]:
    """Give a function that serves an aiohttp application on a free port and returns its URL."""
    async with AsyncExitStack() as stack:

        async def start(app: web.Application) -> URL:
            server = TestServer(app)
            await server.start_server()
            stack.push_async_callback(server.close)
            return server.make_url("/")

        yield start
