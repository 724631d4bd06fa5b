"""What was measured of the replicas, written into their records and kept in a file over restarts of llmux.

meter = Meter(resize, path)       resize: amounts measured -> sizes of each replica
await meter.open(replicas)        what an earlier llmux has measured
meter.moved(replica, kind, seconds, phases), meter.weighed(replica, ...)
await meter.keep()                write the file anew
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from llmux.server._capacity import Measured as Amounts
from llmux.server._phases import Phases
from llmux.server._record import Replica
from llmux.server._rules import Sizes
from llmux.server._takes import part_of, takes
from llmux.server.scheduling.measured import Measured, from_data

log = logging.getLogger(__name__)

Resize = Callable[[Mapping[str, Amounts]], Mapping[str, Sizes]]

_NOTHING = Amounts()


class Meter:
    """The one place that measurements go to."""

    def __init__(self, resize: Resize | None = None, path: Path | None = None) -> None:
        """Without `resize` the sizes stay as they are; without `path` nothing outlives this llmux."""
        self._resize = resize
        self._path = path
        self._moves = Measured()
        self._amounts: dict[str, Amounts] = {}
        self._replicas: dict[str, Replica] = {}

    async def open(self, replicas: Iterable[Replica]) -> None:
        """Read the file, if there is one that can be read, and tell these replicas' records."""
        self._replicas = {replica.name: replica for replica in replicas}
        if self._path is not None:
            try:
                self._moves, self._amounts = await asyncio.to_thread(_read, self._path)
            except FileNotFoundError:
                pass
            except (OSError, ValueError) as error:
                log.warning("%s: what was measured earlier is not used: %s", self._path, error)
        self._tell_all()

    def change(self, resize: Resize, replicas: Iterable[Replica]) -> None:
        """Tell these replicas from now on, what `resize` makes of the amounts."""
        self._resize = resize
        self._replicas = {replica.name: replica for replica in replicas}
        self._tell_all()

    def moved(self, replica: Replica, kind: str, seconds: float, phases: Phases | None = None) -> None:
        """Take note of what a move took, and each of its phases."""
        self._moves = self._moves.seen(replica.name, kind, seconds)
        for name, part in (phases or {}).items():
            self._moves = self._moves.seen(replica.name, part_of(kind, name), part)
        replica.takes = takes(self._moves, replica.name)

    def weighed(
        self,
        replica: Replica,
        *,
        awake: int | None = None,
        asleep: int | None = None,
        on_gpu: int | None = None,
        disk: int | None = None,
    ) -> None:
        """Take note of its host memory, awake or asleep with its process kept, of what it then has on each GPU, or of its images' bytes on disk.

        What is None is not known.
        """
        known = self._amounts.get(replica.name, _NOTHING)
        self._amounts[replica.name] = replace(
            known,
            host_memory=known.host_memory if awake is None else awake,
            host_memory_asleep=known.host_memory_asleep if asleep is None else asleep,
            gpu_memory_asleep=known.gpu_memory_asleep if on_gpu is None else on_gpu,
            disk=known.disk if disk is None else disk,
        )
        self.tell()

    async def keep(self) -> None:
        """Write what is known; where that cannot be done the next llmux measures anew."""
        if self._path is None:
            return
        amounts = {name: asdict(each) for name, each in self._amounts.items()}
        text = json.dumps({**self._moves.as_data(), "amounts": amounts}, indent=1)
        try:
            await asyncio.to_thread(_write, self._path, text)
        except OSError as error:
            log.warning("%s: what was measured cannot be kept: %s", self._path, error)

    def _tell_all(self) -> None:
        for replica in self._replicas.values():
            replica.takes = takes(self._moves, replica.name)
        self.tell()

    def tell(self) -> None:
        """Write the sizes into the records, but of a replica that is to be another: its engine is still the old one."""
        if self._resize:
            for name, sizes in self._resize(self._amounts).items():
                replica = self._replicas.get(name)
                if replica and not replica.becomes:
                    replica.sizes = sizes


def _read(path: Path) -> tuple[Measured, dict[str, Amounts]]:
    data = json.loads(path.read_text("utf-8"))
    moves = from_data(data)
    amounts = data.get("amounts")
    if not isinstance(amounts, dict):
        raise ValueError("amounts: is no object")  # noqa: TRY004 - one kind of error for whatever is wrong with it
    return moves, {name: _amounts(name, fields) for name, fields in amounts.items()}


def _amounts(name: str, fields: object) -> Amounts:
    known = set(asdict(_NOTHING))
    if not isinstance(fields, dict) or not fields.keys() <= known:
        raise ValueError(f"amounts.{name}: is no object of {', '.join(sorted(known))}")
    for field, value in fields.items():
        if value is not None and (type(value) is not int or value < 0):
            raise ValueError(f"amounts.{name}.{field}: {value!r} is no number of bytes")
    return Amounts(**fields)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text, "utf-8")
    new.replace(path)
