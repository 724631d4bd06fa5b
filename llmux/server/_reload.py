"""Another configuration for an llmux that runs: read, judged as a whole, and then taken as a whole or not at all.

Models that are new appear, those that are gone depart, and of the others only those engines are started anew that were
started otherwise than is configured now; all other engines are not touched.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from llmux.server import _capacity, config
from llmux.server._capacity import Found, Placement
from llmux.server._driver import Driver
from llmux.server._hands import Hands
from llmux.server._happenings import ConfigurationReloaded
from llmux.server._model import Asleep, Process
from llmux.server._record import Anew, Gone, Model, Replica
from llmux.server._setup import make_models, policy_of
from llmux.server.config import Changes, Config, ModelConfig, replica_names
from llmux.server.errors import NodeUnfit, Problem, RestartNeeded, ServerError, StartRefused, UnknownModel

log = logging.getLogger(__name__)

_STAYS = "Nothing has changed: llmux goes on with the configuration that was in force"
LOOK_EVERY = 1.0
"""Seconds between two looks at the file."""

MakeHands = Callable[[Config, Placement], Awaitable[Mapping[str, Hands]]]
Prepare = Callable[[Config], Callable[[], None]]
"""Reads what else a configuration refers to, in a thread; returns what takes it. Raises NodeUnfit."""


@dataclass(frozen=True)
class Reload:
    """What a reload has come to: either what has changed, or the problem for which nothing has."""

    at: float
    """In seconds since the epoch, for people."""
    changes: Changes = field(default_factory=Changes)
    anew: tuple[str, ...] = ()
    """The replicas whose engines are ended, or started anew."""
    problem: Problem | None = None


@dataclass
class ConfigFile:
    """The configuration's file, and which state of it was read last."""

    path: Path
    read: tuple[int, ...] | None = None

    def load(self) -> Config:
        """Read it. Raises ConfigUnreadable and ConfigInvalid."""
        self.read = self.look()
        return config.load(self.path)

    def look(self) -> tuple[int, ...] | None:
        """Return what tells its states apart: editors replace files, and Kubernetes what a link leads to."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


class Reloader:
    """Reloads the configuration of a driver from its file."""

    def __init__(  # noqa: PLR0913 - what it began with
        self,
        driver: Driver,
        file: ConfigFile,
        settings: Config,
        found: Found,
        make_hands: MakeHands,
        *,
        others: Sequence[Prepare] = (),
    ) -> None:
        """Begin with what the driver was made from: `settings`, on a node with what is `found`.

        `others` reload what is not the driver's.
        """
        self._driver = driver
        self._file = file
        self._found = found
        self._make_hands = make_hands
        self._others = others
        self._placed = _capacity.placement(settings, found)
        self._one_at_a_time = asyncio.Lock()
        self.settings = settings
        """What is in force."""
        self.last: Reload | None = None

    async def reload(self) -> Reload:
        """Read the file and take what it says; return what that has changed, with engines still on their way.

        Raises ConfigUnreadable, ConfigInvalid, NodeUnfit, RestartNeeded and StartRefused, and has changed nothing then.
        """
        async with self._one_at_a_time:
            try:
                self.last = await self._reload()
            except ServerError as error:
                log.error("the configuration stays as it is: %s", error)  # noqa: TRY400 - no fault of llmux
                error.hint = ". ".join(filter(None, (error.hint, _STAYS)))
                self.last = Reload(time.time(), problem=error.problem())
                self._driver.bus.publish(ConfigurationReloaded(problem=error.problem()))
                raise
            log.info("the configuration was read anew: %s", self.last.changes)
            told = ConfigurationReloaded(changes=str(self.last.changes), engines_anew=self.last.anew)
            self._driver.bus.publish(told)
            return self.last

    async def adjust(self, name: str, change: Callable[[ModelConfig], ModelConfig]) -> None:
        """Have one model configured otherwise until the next reload. Raises UnknownModel, NodeUnfit and StartRefused."""
        async with self._one_at_a_time:
            there = self.settings.models
            if name not in there:
                raise UnknownModel(name, tuple(there), hint="GET /v1/models lists the names")
            models = {**there, name: change(there[name])}
            wanted = self.settings.model_copy(update={"models": models})
            await self._take(wanted, config.changes(self.settings, wanted))

    async def reload_when(self, asked: asyncio.Event) -> None:
        """Reload each time that `asked` is set."""
        while True:
            await asked.wait()
            asked.clear()
            await self._try()

    async def watch(self) -> None:
        """Reload each time that the file is another and has stayed so for a look: not while it is written."""
        before = self._file.read
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = await asyncio.to_thread(self._file.look)
            if now == before != self._file.read:
                await self._try()
            before = now

    async def _try(self) -> None:
        try:
            await self.reload()
        except ServerError:
            return  # which is told in the log and by /control/status

    async def _reload(self) -> Reload:
        wanted = await asyncio.to_thread(self._file.load)
        changes = config.changes(self.settings, wanted)
        if changes.at_next_start:
            hint = "Set that back, or restart llmux"
            raise RestartNeeded(str(self._file.path), changes.at_next_start, hint=hint)
        return await self._take(wanted, changes)

    async def _take(self, wanted: Config, changes: Changes) -> Reload:
        kept = self._kept(changes)
        placed = _capacity.placement(wanted, self._found, kept)
        if faults := await asyncio.to_thread(self._faults, wanted):
            raise NodeUnfit(faults)
        takes = [await asyncio.to_thread(prepare, wanted) for prepare in self._others]
        hands = await self._make_hands(wanted, placed)
        if self._driver.stopping:
            raise StartRefused("llmux is stopping", hint="The next start reads the configuration")
        resize = partial(_capacity.sizes, wanted, self._found, kept=kept)
        anew = frozenset(self._anew(changes)) | frozenset(self._moved(placed))
        models = merged(self._driver.models, make_models(wanted, hands, resize({})), anew)
        policy = policy_of(wanted.policy) if wanted.policy != self.settings.policy else None
        capacity = _capacity.capacity(wanted, self._found)
        if wanted.mode != self.settings.mode:  # otherwise it stays as it was last set by hand
            self._driver.set_mode(manual=wanted.mode == "manual")
        self._driver.change(models, policy, capacity, wanted.queue.max_waiting)
        self._driver.meter.change(resize, self._driver.replicas)
        for take in takes:
            take()
        self.settings, self._placed = wanted, placed
        return Reload(time.time(), changes, tuple(sorted(anew)))

    def _faults(self, wanted: Config) -> tuple[str, ...]:
        return (*config.eviction_faults(wanted), *_capacity.faults(wanted, self._found))

    def _kept(self, changes: Changes) -> Placement:
        """Return the GPUs of the replicas that nothing new is said of: they stay where they are."""
        placed_anew = {each.name for each in changes.changed if any(map(_places, each.fields))}
        return {
            replica: self._placed[replica]
            for name, model in self.settings.models.items()
            if name not in placed_anew
            for replica in replica_names(name, model.replicas)
        }

    def _anew(self, changes: Changes) -> Iterable[str]:
        """Yield the replicas that were there and whose engines do not stay."""
        before = self.settings.models
        for name in changes.removed:
            yield from replica_names(name, before[name].replicas)
        for change in changes.changed:
            names = replica_names(change.name, before[change.name].replicas)
            yield from (names[number] for number in (*change.restarts, *change.removed))

    def _moved(self, placed: Placement) -> Iterable[str]:
        """Yield those that are to have other GPUs, unless they have left theirs: such a one comes back on the new ones."""
        gone = {replica.name for replica in self._driver.replicas if _has_left_its_gpus(replica)}
        for name, gpus in self._placed.items():
            if placed.get(name, gpus) != gpus and name not in gone:
                yield name


def merged(there: Mapping[str, Model], wanted: Iterable[Model], anew: frozenset[str]) -> dict[str, Model]:
    """Return the models that are wanted: those that are there with their new rules, each replica told what it becomes.

    Replicas named in `anew` become others; the rest of those that are there just get what is new.
    """
    result = {model.name: _merged(there.get(model.name), model, anew) for model in wanted}
    for name, model in there.items():
        if name not in result:
            for replica in model.replicas:
                replica.becomes = Gone()
    return result


def _merged(there: Model | None, wanted: Model, anew: frozenset[str]) -> Model:
    model = there or Model(wanted.name, wanted.rules, ())
    model.rules, model.departing = wanted.rules, False
    model.schedules, model.scheduled = wanted.schedules, model.scheduled and bool(wanted.schedules)
    old = {replica.name: replica for replica in model.replicas}
    for replica in wanted.replicas:
        _take_over(old.setdefault(replica.name, _blank(replica)), replica, anew)
    names = {replica.name for replica in wanted.replicas}
    for name, replica in old.items():
        if name not in names:
            replica.becomes = Gone()
    model.replicas = tuple(old.values())
    return model


def _blank(replica: Replica) -> Replica:
    """Return a replica that is to become this one: it is not woken before its checkpoint has been looked for."""
    blank = Replica(replica.name, replica.model, replica.hands, replica.state, replica.sizes)
    blank.becomes = Gone()
    return blank


def _take_over(replica: Replica, wanted: Replica, anew: frozenset[str]) -> None:
    if replica.becomes or replica.name in anew:
        replica.becomes = Anew(wanted.hands, wanted.port)
    else:
        replica.hands = wanted.hands
        if replica.life:
            replica.hands.take(replica.life)


def _has_left_its_gpus(replica: Replica) -> bool:
    return isinstance(replica.state, Asleep) and replica.state.eviction.process is Process.CUDA_SUSPEND


def _places(path: str) -> bool:
    return path.partition(".")[0] in {"resources", "extra_args", "replicas", "engine"}
