"""A model's hands: what starting, dumping and restoring its engine really does to processes and to the disk."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from llmux.criu_images import CriuImagesError, escape, finish, undo
from llmux.server import _berth, _criu, _unmet, engines
from llmux.server._adoption import Place, adopt, end_others
from llmux.server._berth import Record
from llmux.server._checkpoints import Checkpoint, CheckpointStore, Facts, Generation, fingerprint
from llmux.server._criu import CriuSettings
from llmux.server._facts import Start
from llmux.server._gpu_names import VISIBLE
from llmux.server._hands import Hands, Life, Stored
from llmux.server._inherited import inherited
from llmux.server._life import EngineLife
from llmux.server._log_tail import size_of
from llmux.server._model import Eviction, Process
from llmux.server._phases import phase, took
from llmux.server._ports import until_free
from llmux.server._sandbox import Child, Isolation, Sandbox
from llmux.server.config import Config, ModelConfig, eviction_fault, rank_settings, replica_names
from llmux.server.cuda.suspend import mapped, settings_for
from llmux.server.engines import LOOPBACK, remote
from llmux.server.engines.remote import RemoteHands
from llmux.server.errors import (
    CheckpointOfAnotherStart,
    NoCheckpoint,
    NodeUnfit,
    Problem,
    ServerError,
    StartRefused,
)

log = logging.getLogger(__name__)

_PORT_GRACE = 2.0
"""Seconds for what is left of an engine that has just been killed to give up its port."""
_CACHE_VARIABLES = (
    "HOME",
    "XDG_CACHE_HOME",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "VLLM_CACHE_ROOT",
)
"""Where engines keep models and what they have compiled; another engine of this container may share it."""


@dataclass(frozen=True)
class Criu:
    """How criu is run, and what it lacks on this machine, if anything."""

    settings: CriuSettings
    lack: ServerError | None = None


class EngineHands:
    """One replica's work, with real processes."""

    def __init__(  # noqa: PLR0913, PLR0917 - what all hands share, each for itself
        self,
        name: str,
        serves: tuple[str, ModelConfig],
        config: Config,
        place: Place,
        store: CheckpointStore,
        criu: Criu,
    ) -> None:
        """`name` is the replica's; `serves` is its model, by the name that clients ask for, as this replica runs it."""
        self._name = name
        self._config = config
        served_as, self._model = serves
        self._place = place
        self._store = store
        self._criu = criu
        self._adopted = False
        self._engine = engines.make(served_as, self._model, config.log_dir / f"{name}.log")
        environ = {**os.environ, **self._model.env}
        self._cuda = settings_for(criu.settings.cuda_checkpoint_path, environ)
        command = self._engine.command({})
        self._log = command.log
        # The model's own variables, not the inherited ones: those differ between containers (HOSTNAME).
        own = {**rank_settings(self._model).env, **self._model.env}
        self._temporary = None if self._model.isolation.tmp else Path(environ.get("TMPDIR") or "/tmp")  # noqa: S108 - where engines bind
        self._start = Start(fingerprint(command.argv, own), environ.get(VISIBLE))

    def refusal(self, eviction: Eviction) -> str:
        if eviction.process is Process.CHECKPOINT and self._criu.lack:
            return str(self._criu.lack)
        return eviction_fault(eviction, self._model)

    async def adopt(self) -> tuple[Life, Eviction | None] | None:
        found = await adopt(self._place, self._name, self._start, self._adopted_life)
        self._adopted = found is not None
        return found

    def _adopted_life(self, sandbox: Sandbox, record: Record) -> EngineLife:
        engine = sandbox.adopt(record.engine.pid if record.engine else 0)
        life = self._life(sandbox, engine, record.started_at, record.log_began)
        life.suspended, life.had = record.doing == "suspended", record.devices
        self.take(life)
        return life

    def take(self, life: Life) -> None:
        if isinstance(life, EngineLife):
            life.cuda = self._cuda
            if (berth := life.sandbox.berth) and berth.record:  # written with its next note
                berth.record = berth.record.model_copy(update={"visible": self._start.visible})

    async def find(self) -> Stored | Problem | None:
        await self._recover()
        try:
            checkpoint = await self._newest()
        except NoCheckpoint:
            return None
        except ServerError as error:
            return error.problem()
        except OSError as error:  # another container is replacing it at this moment
            return Problem("checkpoint_unreadable", str(error), "The next request looks again")
        if not self._adopted:  # what was made for one that runs is its own
            await self._undo(checkpoint.directory)
        return _stored(checkpoint)

    async def _undo(self, directory: Path) -> None:
        """Take back what a restore had made that came to nothing: its llmux was killed, or its engine never got well."""
        try:
            undone = await asyncio.to_thread(undo, directory)
        except (CriuImagesError, OSError) as error:
            log.warning("%s: what an earlier restore made here is left: %s", self._name, error)
            return
        for path in undone.removed:
            log.info("%s: removed %s, left by a restore that came to nothing", self._name, escape(path))
        for one in undone.left:
            log.warning("%s: %s was left: %s", self._name, escape(one.path), one.why)

    async def _recover(self) -> None:
        """Clean what a crash left among the checkpoints; where that cannot be done, what can be read still serves."""
        try:
            for done in await asyncio.to_thread(self._store.recover, self._name):
                log.info("%s: checkpoints: %s", self._name, done)
        except (ServerError, OSError) as error:
            log.warning("%s: checkpoints: cannot clean up: %s", self._name, error)

    async def cold_start(self) -> Life:
        await until_free(LOOPBACK, self._model.port, _PORT_GRACE)
        log_began = await asyncio.to_thread(size_of, self._log)
        async with self._sandbox() as sandbox:
            environ = inherited(self._config, os.environ)
            child = await sandbox.start_engine(await asyncio.to_thread(self._engine.command, environ))
            life = self._life(sandbox, child, time.time(), log_began)
            async with _closed_unless_serving(life):
                await life.moor()
                with phase("health"):
                    await life.until_healthy(self._model.timeouts.start)
                await life.take_up()
                await life.serves()
            return life

    async def dump(self, life: Life, eviction: Eviction, began: float) -> Stored:
        generation = await asyncio.to_thread(self._store.begin, self._name)
        try:
            had = await life.dump(generation.directory)
        except BaseException:
            await asyncio.to_thread(self._store.discard, generation)
            raise
        facts = Facts(eviction, self._start.command, life.started_at, time.monotonic() - began, had)
        checkpoint = await _to_the_end(self._publish, generation, facts)
        if checkpoint.capture_seconds is not None:
            took("capture", checkpoint.capture_seconds)
        return _stored(checkpoint)

    def _publish(self, generation: Generation, facts: Facts) -> Checkpoint:
        try:
            return self._store.publish(generation, facts)
        except ServerError:
            self._store.discard(generation)
            raise

    async def reusable(self, life: Life, eviction: Eviction) -> Stored | None:
        """Find it: an engine that has only answered since its restore would be dumped as it was, but for caches and log."""
        if (
            not self._config.checkpoint.reuse
            or not isinstance(life, EngineLife)
            or life.restored_from is None
        ):
            return None
        try:
            checkpoint = await self._newest()
        except (ServerError, OSError):
            return None
        same = checkpoint.generation == life.restored_from and checkpoint.facts.eviction == eviction
        return _stored(checkpoint) if same else None

    async def restore(self) -> tuple[Life, Stored | None]:
        checkpoint = await self._newest()
        with ExitStack() as reading:
            await asyncio.to_thread(reading.enter_context, self._store.in_use(checkpoint))
            life = await self._restored(checkpoint)
        if self._config.checkpoint.keep_images:
            return life, _stored(checkpoint)
        await self.forget()
        return life, None

    async def _restored(self, checkpoint: Checkpoint) -> EngineLife:
        await mapped(
            self._cuda, checkpoint.facts.devices
        )  # before all that is done in vain where there is no map
        log_began = await asyncio.to_thread(size_of, self._log)
        async with self._sandbox() as sandbox:
            settings, directory = self._criu.settings, checkpoint.directory
            with phase("restore"):
                child = await _criu.restore(
                    settings, sandbox, directory, max_id=checkpoint.max_id, name=self._name
                )
            life = self._life(sandbox, child, checkpoint.facts.engine_started_at, log_began)
            life.restored_from = checkpoint.generation
            life.suspended, life.had = True, checkpoint.facts.devices  # as it was dumped
            try:
                async with _closed_unless_serving(life):
                    await life.moor()
                    await life.come_back()
                    with phase("health"):
                        await life.until_healthy(self._model.timeouts.wake)
                    with phase("wake"):
                        await life.rouse(checkpoint.facts.eviction.weights)
            except BaseException:
                await self._undo(directory)
                raise
            await self._finish(directory)
            await life.serves()  # only now: the next llmux undoes a restore that is not finished
            return life

    async def _finish(self, directory: Path) -> None:
        """Let what was made for the restore stay: the engine serves."""
        try:
            await asyncio.to_thread(finish, directory)
        except (CriuImagesError, OSError) as error:
            log.warning(
                "%s: its restore is not settled, and is taken back at the next start: %s", self._name, error
            )

    def _life(self, sandbox: Sandbox, child: Child, started_at: float, log_began: int) -> EngineLife:
        settings = self._criu.settings
        return EngineLife(
            *(self._name, self._engine, settings, sandbox, child, self._log, log_began, started_at),
            cuda=self._cuda,
            temporary=self._temporary,
        )

    async def _newest(self) -> Checkpoint:
        """Return the checkpoint to restore. Raises NoCheckpoint, CheckpointOfAnotherStart and the store's errors."""
        checkpoint = await asyncio.to_thread(self._store.newest, self._name, self._model.checkpoint_path)
        if checkpoint is None:
            raise NoCheckpoint(self._name)
        if checkpoint.facts.command != self._start.command:
            hint = "Set the configuration back, or go on: the next sleep to disk replaces it"
            raise CheckpointOfAnotherStart(str(checkpoint.directory), hint=hint)
        return checkpoint

    async def forget(self) -> None:
        try:
            await asyncio.to_thread(self._store.remove, self._name)
        except (ServerError, OSError) as error:
            log.warning("%s: its checkpoint could not be removed: %s", self._name, error)

    @asynccontextmanager
    async def _sandbox(self) -> AsyncIterator[Sandbox]:
        """Give a new sandbox, which ends if what it is wanted for fails."""
        isolation = Isolation(self._model.isolation.shm, self._model.isolation.tmp)
        keep = await asyncio.to_thread(self._shared_directories)
        port, log_path = self._model.port, str(self._log)
        berth = await asyncio.to_thread(self._place.berth, self._name, self._start, port, log_path)
        sandbox = await Sandbox.create(isolation, keep, berth=berth, linger=self._place.linger)
        try:
            yield sandbox
        except BaseException:
            await sandbox.close()
            raise

    def _shared_directories(self) -> tuple[Path, ...]:
        """Return what must stay reachable where the engine has a /tmp or /dev/shm of its own; make llmux's own."""
        _make_directory(self._config.log_dir)
        with suppress(OSError):  # the store says so when a checkpoint is to be written
            self._config.checkpoint.images_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        environment = {**os.environ, **self._model.env}
        caches = [environment[name] for name in _CACHE_VARIABLES if environment.get(name)]
        adapters = (adapter.path for adapter in self._model.adapters.values())
        wanted = (
            self._config.log_dir,
            self._config.checkpoint.images_dir,
            self._model.checkpoint_path,
            *map(Path, (self._model.model_path, *adapters, *caches)),
        )
        return tuple(path for path in wanted if path and path.is_absolute() and path.is_dir())


async def make_hands(
    config: Config, gpus: Mapping[str, tuple[int, ...]], *, hint: str = "", starting: bool = True
) -> Mapping[str, Hands]:
    """Return the hands of every replica of the configured models, by its name; `gpus` are each replica's.

    When llmux is `starting`, engines of other models have been left by an earlier one, and are ended; later they are its own.
    Raises NodeUnfit, with `hint`, where CRIU cannot work here and a model is configured to sleep by it; otherwise that refuses such a sleep only.
    Raises StartRefused where the key of a remote model cannot be read.
    """
    await asyncio.to_thread(remote.check, config)
    criu = await _prepare_criu(config)
    if unmet := _unmet.without_criu(config, criu.lack):
        raise NodeUnfit((str(unmet),), hint=hint) from criu.lack
    store = CheckpointStore(config.checkpoint.images_dir)
    place = _place(config, criu.settings.run_dir)
    hands: dict[str, Hands] = {
        replica: await asyncio.to_thread(
            EngineHands, replica, (name, model.of_replica(number, gpus[replica])), config, place, store, criu
        )
        for name, model in config.models.items()
        if model.runs_here
        for number, replica in enumerate(replica_names(name, model.replicas))
    }
    hands |= {name: RemoteHands(name, model) for name, model in config.models.items() if not model.runs_here}
    if starting:
        await end_others(place, hands)
    return hands


def _place(config: Config, run_dir: Path) -> Place:
    adopting = config.engines_at_start == "adopt"
    linger = config.engines_linger if adopting else 0.0
    return Place(_berth.root_of(run_dir), f"{config.host}:{config.port}", linger, adopting)


async def _prepare_criu(config: Config) -> Criu:
    settings = _unmet.criu_settings(config)
    await asyncio.to_thread(_criu.clean_work_directories, settings.run_dir)
    try:
        log.info("criu %s", await _criu.check(settings))
    except ServerError as lack:
        return Criu(settings, lack)
    return Criu(settings)


async def _to_the_end(
    work: Callable[[Generation, Facts], Checkpoint], generation: Generation, facts: Facts
) -> Checkpoint:
    """Do `work` in a thread. A cancelled caller waits for its end too: half a publication must not be left behind."""
    done = asyncio.get_running_loop().run_in_executor(None, work, generation, facts)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait((done,))
        raise


@asynccontextmanager
async def _closed_unless_serving(life: EngineLife) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await life.close()
        raise


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartRefused(
            f"cannot make {path}: {error.strerror}", hint="Set log_dir to a directory that llmux may write to"
        ) from error


def _stored(checkpoint: Checkpoint) -> Stored:
    return Stored(
        checkpoint.directory,
        checkpoint.size_bytes,
        checkpoint.created_at.timestamp(),
        checkpoint.generation,
        checkpoint.facts.eviction,
        checkpoint.facts.seconds,
    )
