"""llama.cpp's server: its command line, and its slots on disk. It has no call that lets go of the weights while it runs.

Started with --slot-save-path it can write a slot's KV cache to a file there and read it again (its tools/server/README.md).
llmux has it do so around a stop, so that a conversation goes on without its prompt being read anew.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path

import aiohttp
from pydantic import BaseModel, TypeAdapter, ValidationError

from llmux.server._effect_errors import EngineRefused
from llmux.server._model import Weights
from llmux.server.engines._http import LOOPBACK, HttpEngine

PROGRAM = ("llama-server",)

_SAVED_IN = "--slot-save-path"


class _Slot(BaseModel):
    id: int
    n_prompt_tokens: int = 1
    """How much it holds; a server that does not say may hold something."""


_SLOTS = TypeAdapter(tuple[_Slot, ...])


@dataclass(frozen=True)
class LlamaCppEngine(HttpEngine):
    """`llama-server`. /health is 503 until the model is loaded.

    Its weights are mapped from the file, so that they leave memory, and stay out of a checkpoint, with its process alone.
    """

    @property
    def keeps_connections(self) -> bool:
        # Its server (cpp-httplib) has a thread for each connection and few threads: /health would wait for one.
        return False

    async def sleep(self, session: aiohttp.ClientSession, weights: Weights) -> None:
        """Do nothing: of its weights it can only retain all."""

    async def wake(self, session: aiohttp.ClientSession, weights: Weights) -> None:
        """Do nothing, likewise."""

    async def put_by(self, session: aiohttp.ClientSession) -> None:
        if not (files := await asyncio.to_thread(self._files)):
            return
        await asyncio.to_thread(files.remove_others)
        full = [slot.id for slot in await self._slots(session) if slot.n_prompt_tokens]
        await self._each(session, "save", full, files)

    async def take_up(self, session: aiohttp.ClientSession) -> None:
        if not (files := await asyncio.to_thread(self._files)):
            return
        slots = [slot.id for slot in await self._slots(session)]
        await self._each(session, "restore", await asyncio.to_thread(files.saved_of, slots), files)

    async def _each(
        self, session: aiohttp.ClientSession, action: str, slots: Iterable[int], files: _SlotFiles
    ) -> None:
        for slot in slots:
            body = {"filename": files.name_of(slot)}
            await self._post(session, f"/slots/{slot}?action={action}", self._timeouts.sleep, body)

    async def _slots(self, session: aiohttp.ClientSession) -> tuple[_Slot, ...]:
        answer = await self._call(session, "GET", "/slots", self._timeouts.health)
        try:
            return _SLOTS.validate_json(answer)
        except ValidationError as error:
            url, what = str(self.url.with_path("/slots")), error.errors()[0]["msg"]
            raise EngineRefused(url, HTTPStatus.OK, what, hint=self._hint()) from error

    def _files(self) -> _SlotFiles | None:
        """Return where its slots are saved; None where it was not told to."""
        directory = _option(self.model.extra_args)
        return _SlotFiles(Path(directory), self.name, self._start()) if directory else None

    def _start(self) -> str:
        """Return what tells this start from one of another model or with other arguments: a slot of theirs is not for it."""
        with suppress(OSError):
            found = Path(self.model.model_path).stat()
            return _digest((*self._argv(), str(found.st_size), str(found.st_mtime_ns)))
        return _digest(self._argv())

    def _argv(self) -> tuple[str, ...]:
        program = (*(self.model.program or PROGRAM), "--model", self.model.model_path)
        address = ("--host", LOOPBACK, "--port", str(self.model.port), "--alias", self.name)
        return (*program, *address, *self.model.extra_args)


@dataclass(frozen=True)
class _SlotFiles:
    """The files of one model's slots."""

    directory: Path
    name: str
    start: str

    def name_of(self, slot: int) -> str:
        return f"{self._prefix}{self.start}.{slot}"

    def saved_of(self, slots: Iterable[int]) -> list[int]:
        return [slot for slot in slots if (self.directory / self.name_of(slot)).is_file()]

    def remove_others(self) -> None:
        """Remove what another start of this model has left."""
        for path in self.directory.glob(f"{self._prefix}*"):
            if not path.name.startswith(f"{self._prefix}{self.start}."):
                with suppress(OSError):
                    path.unlink()

    @property
    def _prefix(self) -> str:
        # No model's name has a tilde: neither is the beginning of another's.
        return f"llmux.{self.name}~"


def _option(extra_args: tuple[str, ...]) -> str | None:
    found = None
    for word, after in pairwise((*extra_args, "")):
        name, equals, value = word.partition("=")
        if name == _SAVED_IN:
            found = value if equals else after
    return found


def _digest(words: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
