"""Engines that an earlier llmux has left running: each is taken over where it is what its record says, and ended otherwise.

Interface:
    await adopt(place, name, start, make_life) -> tuple[EngineLife, Eviction | None] | None       None: there is none, or it was ended
    await end_others(place, names)            ends those whose model is no longer there

An engine that was in the middle of something is ended: what state it is in nobody knows. What criu was doing is ended
with its sandbox, so that the store can discard what it was making, and the library undo what it had made.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llmux.server import _berth
from llmux.server._berth import Berth, Record
from llmux.server._effect_errors import BerthRefused, NotAttached
from llmux.server._facts import Start, fault, look, task_in
from llmux.server._life import TERM_GRACE, EngineLife
from llmux.server._model import Eviction, Process, Weights
from llmux.server._sandbox import Sandbox
from llmux.server._socket_names import names_of, remove
from llmux.server.errors import ServerError

logger = logging.getLogger(__name__)

_ASLEEP: Mapping[str, Process] = {"asleep": Process.KEEP_RUNNING, "suspended": Process.CUDA_SUSPEND}
_HEALTHY_WITHIN = 5.0
"""Seconds for an engine that was serving to say so."""


@dataclass(frozen=True)
class Place:
    """Where engines are left, by whom, and for how long."""

    root: Path
    instance: str
    """Tells one llmux of a machine from another: where it listens."""
    linger: float
    """Seconds that an engine waits for the next llmux; 0: it ends with its llmux."""
    adopt: bool = True
    """Whether those that are found are taken over."""

    def berth(self, name: str, start: Start, port: int, log: str) -> Berth | None:
        """Make the berth of an engine that is to be started; None where it is not to outlast llmux, or cannot."""
        if not self.linger:
            return None
        record = Record(
            name=name,
            instance=self.instance,
            home=_home(),
            command=start.command,
            visible=start.visible,
            port=port,
            log=log,
        )
        try:
            return _berth.make(self.root, record)
        except BerthRefused as error:
            logger.warning("%s: it will end with llmux, however that ends: %s", name, error)
            return None


async def adopt(
    place: Place, name: str, start: Start, make_life: Callable[[Sandbox, Record], EngineLife]
) -> tuple[EngineLife, Eviction | None] | None:
    """Take over the engine of this name, if there is one, started so."""
    adopted = None
    for berth, record in await _left(place):
        if record.name != name or (sandbox := await _attached(berth)) is None:
            continue
        why = (
            "another of its name has been adopted" if adopted else await _unfit(place, sandbox, record, start)
        )
        if why:
            await _end(sandbox, record, why)
            continue
        life = make_life(sandbox, record)
        try:
            await life.until_healthy(_HEALTHY_WITHIN)
        except ServerError as error:
            logger.warning("%s: the engine that an earlier llmux left is ended: %s", name, error)
            await life.close()
            continue
        logger.info("%s: adopted the engine that an earlier llmux left: it is %s", name, record.doing)
        adopted = life, _sleep(record)
    return adopted


async def end_others(place: Place, names: Collection[str]) -> None:
    """End the engines of this llmux whose models are not there any more."""
    for berth, record in await _left(place):
        if record.name not in names and (sandbox := await _attached(berth)):
            await _end(sandbox, record, "no model of this name is configured")


async def _left(place: Place) -> list[tuple[Berth, Record]]:
    """Return the berths of this instance that are of this PID namespace: only there the ids in them mean anything."""
    try:
        found = await asyncio.to_thread(_berth.left, place.root)
        home = await asyncio.to_thread(_home)
    except (BerthRefused, OSError) as error:
        logger.warning("engines that an earlier llmux may have left are not looked for: %s", error)
        return []
    return [
        (each, each.record)
        for each in found
        if each.record and (each.record.instance, each.record.home) == (place.instance, home)
    ]


async def _attached(berth: Berth) -> Sandbox | None:
    try:
        return await Sandbox.attach(berth)
    except (NotAttached, OSError) as error:
        logger.warning("%s: not taken over: %s", berth.directory.name, error)
        return None


async def _unfit(place: Place, sandbox: Sandbox, record: Record, start: Start) -> str:
    """Say why what is in the sandbox is not taken over, or nothing."""
    if not place.adopt:
        return "the configuration says so (engines_at_start)"
    if record.engine is None:
        return "it had not been started yet"
    facts = await asyncio.to_thread(look, sandbox.init_pid, record.engine.pid, record.port)
    return fault(record, facts, start)


async def _end(sandbox: Sandbox, record: Record, why: str) -> None:
    logger.warning("%s: the engine that an earlier llmux left is ended: %s", record.name, why)
    if record.engine:
        engine = await asyncio.to_thread(task_in, sandbox.init_pid, record.engine.pid)
        if engine == record.engine:
            await _ask_to_end(sandbox, engine.pid)
    names = await asyncio.to_thread(names_of, sandbox.init_pid)
    await sandbox.close()
    await asyncio.to_thread(remove, record.name, names)


async def _ask_to_end(sandbox: Sandbox, pid: int) -> None:
    """Let it clean up. One that criu has frozen cannot, and even killed it ends for its parent only when criu does."""
    sandbox.signal(pid, signal.SIGTERM)
    with suppress(TimeoutError):
        await asyncio.wait_for(sandbox.adopt(pid).wait(), TERM_GRACE)


def _sleep(record: Record) -> Eviction | None:
    process = _ASLEEP.get(record.doing)
    return Eviction(record.weights or Weights.RETAIN, process) if process else None


def _home() -> str:
    return str(Path("/proc/self/ns/pid").readlink())
