"""One engine's life, from a cold start or a restore to the end of its sandbox.

It owns the sandbox, the engine in it, and the HTTP sessions that everything to the engine goes through.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from llmux.server import _criu, _memory, engines
from llmux.server._berth import Doing
from llmux.server._criu import CriuSettings
from llmux.server._effect_errors import EffectError, EngineRefused, EngineUnreachable, TookTooLong
from llmux.server._facts import sandbox_facts, task_in
from llmux.server._log_tail import last_lines
from llmux.server._model import Weights
from llmux.server._nvml import asked
from llmux.server._phases import phase, took
from llmux.server._ports import wait_until_unconnected
from llmux.server._sandbox import Child, Sandbox
from llmux.server._socket_names import Arrivals, Name, names_of, remove
from llmux.server._wire import Asking, Wire
from llmux.server.cuda.devices import Devices
from llmux.server.cuda.errors import CudaDriverMissing, NoCudaState
from llmux.server.cuda.suspend import CudaSettings, resume, suspend, users
from llmux.server.engines import Engine
from llmux.server.errors import EngineEnded, EngineHung, EngineNotHealthy, Problem

log = logging.getLogger(__name__)

TERM_GRACE = 2.0
"""Seconds between asking an engine to end and ending its sandbox."""
_POLL_LEAST, _POLL_MOST = 0.01, 0.1
"""Seconds between two looks at /health, and at the sockets that it has bound, which stay if it is killed."""
_BINDING = 0.2
"""Seconds between a name that a socket is bound to and the socket that has it, at the most (bind(2) makes the one after the other)."""
_DYING = 1.0
"""Seconds for an engine that answers nothing any more to turn out to have ended."""
_NVML = 2.0
"""Seconds for NVML to say what an engine has on its GPUs."""
_DISCONNECT = 2.0
"""Seconds for the engine to close its ends of connections that are over."""


_KEPT = 1.0
"""Seconds that a connection is kept for the next request: less than any server that keeps them is known to wait (uvicorn 5 s),
so that none is closed by the engine in the moment that a request is sent over it."""


def open_proxy_session(*, keeps: bool) -> aiohttp.ClientSession:
    """Return a session that adds nothing to what a client sends, and keeps connections where the engine does."""
    connector = (
        aiohttp.TCPConnector(keepalive_timeout=_KEPT, limit=0)
        if keeps
        else aiohttp.TCPConnector(force_close=True, limit=0)
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    )


@dataclass(eq=False)
class EngineLife:
    """An engine that runs in its sandbox."""

    name: str
    engine: Engine
    criu: CriuSettings
    sandbox: Sandbox
    child: Child
    log: Path
    log_began: int
    """How long the log was when this life began."""
    started_at: float
    restored_from: int | None = None
    """The generation of the checkpoint that it was restored from."""
    session: aiohttp.ClientSession = field(init=False)
    """What llmux's own requests and WebSockets go through; another one after each sleep."""
    wire: Wire = field(init=False)
    """What clients' requests go through; another one after each sleep."""
    control: aiohttp.ClientSession = field(default_factory=engines.open_session)
    cuda: CudaSettings = field(default_factory=CudaSettings)
    suspended: bool = False
    """Whether its processes may have left their GPUs; each is asked before it serves again."""
    had: Devices | None = None
    """The GPUs that they have left, as far as it is known."""
    sockets: set[Name] = field(default_factory=set)
    """The names that its processes have bound, as far as they were seen: one that is killed leaves them."""
    temporary: Path | None = None
    """Where its processes bind most of them, unless that is out of llmux's sight."""
    arrivals: Arrivals | None = None
    """What comes there until it is healthy."""

    def __post_init__(self) -> None:
        self._connect()

    def _connect(self) -> None:
        keeps = self.engine.keeps_connections
        self.session = open_proxy_session(keeps=keeps)
        self.wire = Wire(self.url, self.session, _KEPT if keeps else 0.0)

    def ask(self, method: str, target: str, headers: CIMultiDict[str], body: bytes) -> Asking:
        return self.wire.ask(method, target, headers, body)

    @property
    def url(self) -> URL:
        return self.engine.url

    @property
    def port(self) -> int:
        return self.url.port or 0

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def init_pid(self) -> int:
        return self.sandbox.init_pid

    @property
    def ended(self) -> bool:
        return self.child.returncode is not None

    async def wait(self) -> Problem:
        await self.child.wait()
        return (await self._ending()).problem()

    async def fault(self) -> str:
        try:
            await self.engine.ask_health(self.control)
        except (EngineUnreachable, EngineRefused) as error:
            return error.what()
        return ""

    async def post_mortem(self, fault: str) -> Problem:
        with suppress(TimeoutError):
            async with asyncio.timeout(_DYING):
                return await self.wait()
        hint = "The next request starts it again"
        return EngineHung(fault, str(self.log), await self._last_words(), hint=hint).problem()

    async def until_healthy(self, seconds: float) -> None:
        """Return once /health is good. Raises EngineEnded and EngineNotHealthy."""
        until = time.monotonic() + seconds
        pause = _POLL_LEAST
        with suppress(OSError):
            self.arrivals = await asyncio.to_thread(Arrivals, self.temporary) if self.temporary else None
        while not await self._healthy():
            if self.ended:
                raise await self._ending()
            if time.monotonic() > until:
                hint = "If it only needs longer, raise timeouts.start"
                words = await self._last_words()
                raise EngineNotHealthy(str(self.url), seconds, str(self.log), words, hint=hint)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _POLL_MOST)
        self.arrivals = None

    async def _healthy(self) -> bool:
        healthy = await self.engine.healthy(self.control)
        await self._look_for_sockets()
        return healthy

    async def _look_for_sockets(self) -> None:
        """See which names its processes have bound by now."""
        self.sockets.update(await asyncio.to_thread(names_of, self.init_pid))

    async def quieten(self, weights: Weights) -> None:
        await self._note("busy")
        await self._disconnect()
        await self.engine.sleep(self.control, weights)
        await self._note("asleep", weights)

    async def suspend(self, weights: Weights) -> None:
        await self._note("busy")
        try:
            await self._leave_gpus()
        except EffectError:
            await self._note("asleep", weights)
            raise
        await self._note("suspended", weights)

    async def _leave_gpus(self) -> None:
        """Move what its processes have on GPUs into host memory: all of them, or none."""
        pids = await asyncio.to_thread(users, self.init_pid)
        self.suspended = True  # until it is known that all run again
        self.had = await suspend(self.cuda, pids)

    async def come_back(self) -> None:
        """Give its processes their GPUs again, where they have left them."""
        if self.suspended:
            with phase("cuda_resume"):
                pids = await asyncio.to_thread(users, self.init_pid)
                await resume(self.cuda, pids, self.had)
            self.suspended, self.had = False, None

    async def resume(self, weights: Weights) -> None:
        await self._note("busy")
        await self.come_back()
        await self.rouse(weights)
        await self.serves()

    async def rouse(self, weights: Weights) -> None:
        """Make it serve again, of which the next llmux is not yet to know."""
        await self.engine.wake(self.control, weights)

    async def put_by(self) -> None:
        try:
            await self.engine.put_by(self.control)
        except (EngineUnreachable, EngineRefused) as error:
            log.warning("%s: its next start begins with nothing: %s", self.name, error)

    async def take_up(self) -> None:
        """Have it take up what an earlier one has put by. It serves without, too."""
        try:
            await self.engine.take_up(self.control)
        except (EngineUnreachable, EngineRefused) as error:
            log.warning("%s: begins with nothing: %s", self.name, error)

    async def moor(self) -> None:
        """Write down what the next llmux has to know of it: that it is in the middle of a start."""
        if not (self.sandbox.berth and self.sandbox.berth.record):
            return
        init, pid_namespace, mount_namespace = await asyncio.to_thread(sandbox_facts, self.init_pid)
        self.sandbox.berth.record = self.sandbox.berth.record.model_copy(
            update={
                "init": init,
                "pid_namespace": pid_namespace,
                "mount_namespace": mount_namespace,
                "engine": await asyncio.to_thread(task_in, self.init_pid, self.pid),
                "started_at": self.started_at,
                "log_began": self.log_began,
            }
        )
        await self._note("busy")

    async def serves(self) -> None:
        """Let the next llmux know that it serves."""
        await self._note("serving")

    async def _note(self, doing: Doing, weights: Weights | None = None) -> None:
        berth = self.sandbox.berth
        if berth and berth.record:
            now = {"doing": doing, "weights": weights, "devices": self.had}
            record = berth.record.model_copy(update=now)
            try:
                await asyncio.to_thread(berth.note, record)
            except OSError as error:
                log.warning("%s: the next llmux will not adopt it: %s", self.name, error)

    async def dump(self, directory: Path) -> Devices | None:
        before = self.sandbox.berth.record if self.sandbox.berth else None
        await self._note("busy")
        was_suspended = self.suspended
        try:
            await self._dump(directory)
        except EffectError:  # it goes on as before
            if not was_suspended:
                await self.come_back()
            if before:
                await self._note(before.doing, before.weights)
            raise
        return self.had

    async def _disconnect(self) -> None:
        """Close the connections that are kept: none outlives a sleep, nor is in a dump."""
        session, wire = self.session, self.wire
        self._connect()
        await wire.close()
        await session.close()

    async def _dump(self, directory: Path) -> None:
        await self._disconnect()
        if not await wait_until_unconnected(self.port, _DISCONNECT):
            log.warning("%s: connections to port %d are open at its dump", self.name, self.port)
        if not self.suspended:
            await self._leave_gpus_for_dump()
        # The plugin would restore what it finds suspended, and takes no device map (CRIU 4.2's cuda_plugin.c).
        criu = replace(self.criu, plugins=not self.suspended)
        stats = await _criu.dump(criu, self.sandbox, self.pid, directory, self.name)
        if stats.frozen is not None:
            took("frozen", stats.frozen)

    async def _leave_gpus_for_dump(self) -> None:
        """Have CRIU find host memory only; that an engine uses no GPU is no reason not to dump it."""
        try:
            with phase("cuda_suspend"):
                await self._leave_gpus()
        except (NoCudaState, CudaDriverMissing):
            self.suspended = False

    async def memory(self) -> int:
        return await asyncio.to_thread(_memory.of_tree, self.init_pid)

    async def gpu_memory(self) -> int | None:
        def look() -> int | None:
            return max(self.cuda.on_gpus(tuple(_memory.tree(self.init_pid))).values(), default=None)

        with suppress(TookTooLong):
            return await asked(look, _NVML)
        return None

    async def close(self) -> None:
        await self.wire.close()
        await self.session.close()
        await self.control.close()
        if not self.ended:
            await self.child.terminate(TERM_GRACE)
        await self._look_for_sockets()
        await self.sandbox.close()
        if self.arrivals:
            self.sockets |= await self._unseen(self.arrivals)
        await asyncio.to_thread(remove, self.name, self.sockets)

    async def _unseen(self, arrivals: Arrivals) -> frozenset[Name]:
        """Return the names that it has left and was not seen to have bound. Whoever else is amid a bind has finished it in a moment."""
        try:
            if dead := await asyncio.to_thread(arrivals.dead):
                await asyncio.sleep(_BINDING)
                return dead & await asyncio.to_thread(arrivals.dead)
        except OSError as error:
            log.warning("%s: sockets of its engine may be left in %s: %s", self.name, self.temporary, error)
        return frozenset()

    async def _ending(self) -> EngineEnded:
        hint = "The next request starts it again"
        return EngineEnded(self.child.returncode or 0, str(self.log), await self._last_words(), hint=hint)

    async def _last_words(self) -> str:
        return await asyncio.to_thread(last_lines, self.log, self.log_began)
