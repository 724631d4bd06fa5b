"""The file that keeps over restarts of llmux where engines' objects are, and whose: `objects.jsonl` in `state_dir`.

attach(app, path)             have the application's `Homes` kept there while it lives

A line for each object, and for each that is forgotten, added at most `PAUSE` after it was; made anew by a rename where most of its
lines say nothing any more. It is llmux's alone: who could write to it would say who reaches what. A line that says nothing is left
out and told of, without its words; all others hold.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from llmux.server._homes import Home, Homes, Item, as_data, from_data
from llmux.server._web import HOMES

log = logging.getLogger(__name__)

PAUSE = 0.2
"""Seconds after a change until it is written, with all that have come meanwhile."""
_AGAIN = 30.0
"""The same where the last could not be."""
_VERSION = b'{"version": 1}\n'
_LONGEST_LINE = 16384
"""Bytes; ASCII makes six of a character."""
_MOST_LINES = 1 << 18
_SPARE_LINES = 1024
"""How many lines may say nothing any more, whatever the others are."""
_TOLD = 3
"""Of how many faults the log tells."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

_Change = tuple[Item, Home | None]


@dataclass
class _Found:
    """What a file says."""

    changes: list[_Change] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def attach(app: web.Application, path: Path) -> None:
    """Have what engines keep for whom read from there at the application's start, and kept there until its end."""
    app.cleanup_ctx.append(partial(_kept, path))


async def _kept(path: Path, app: web.Application) -> AsyncIterator[None]:
    kept = HomesFile(app[HOMES], path)
    await kept.open()
    yield
    await kept.close()


class HomesFile:
    """It changes nothing but through `Homes`; a file that cannot be written stops nothing."""

    def __init__(self, homes: Homes, path: Path) -> None:
        """Touch nothing yet."""
        self._homes, self._path = homes, path
        self._changes: list[_Change] = []
        self._lines = 0
        self._anew = True
        """The file does not say what came before `_changes`."""
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Take what the file says, and write down all that changes from now on."""
        try:
            found = await asyncio.to_thread(_read, self._path)
        except FileNotFoundError:
            found = _Found()
        except (OSError, ValueError) as error:
            found = _Found(faults=[getattr(error, "strerror", None) or str(error)])
        for item, home in found.changes:
            if home is None:
                self._homes.forget(item)
            else:
                self._homes.note(item, home)
        for fault in found.faults[:_TOLD]:
            log.warning("%s: what it says of an engine's objects is not used: %s", self._path, fault)
        if len(found.faults) > _TOLD:
            log.warning("%s: %d more lines are not used", self._path, len(found.faults) - _TOLD)
        self._homes.watch(self._changed)
        if found.changes or found.faults:
            self._write()

    async def close(self) -> None:
        """Write what is not written yet; what cannot be now never is."""
        await self._at_rest()
        if self._timer:
            self._timer.cancel()
            self._write()
            await self._at_rest()
        if self._timer:
            self._timer.cancel()

    async def _at_rest(self) -> None:
        if self._writing:
            await asyncio.wait((self._writing,))

    def _changed(self, item: Item, home: Home | None) -> None:
        if not self._anew:
            self._changes.append((item, home))
        self._write_later(PAUSE)

    def _write_later(self, seconds: float) -> None:
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._write)

    def _write(self) -> None:
        self._timer = None
        if self._lines + len(self._changes) > 2 * len(self._homes) + _SPARE_LINES:
            self._anew = True
        changes: Iterable[_Change] = tuple(self._homes) if self._anew else self._changes
        write = partial(_replace if self._anew else _append, self._path, changes)
        self._lines = len(self._homes) if self._anew else self._lines + len(self._changes)
        self._changes, self._anew = [], False
        self._writing = asyncio.get_running_loop().run_in_executor(None, write)
        self._writing.add_done_callback(self._written)

    def _written(self, done: asyncio.Future[None]) -> None:
        self._writing = None
        error = None if done.cancelled() else done.exception()
        if error is None:
            if self._changes:
                self._write_later(PAUSE)
            return
        if not isinstance(error, OSError):
            log.critical("%s: this is a fault of llmux", self._path, exc_info=error)
        log.warning(
            "%s: whose engines' objects are cannot be kept: %s",
            self._path,
            getattr(error, "strerror", None) or error,
        )
        self._changes, self._anew = [], True
        self._write_later(_AGAIN)


def _read(path: Path) -> _Found:
    """Return what the file says. Raises FileNotFoundError, OSError, and ValueError where none of it is to be believed."""
    with open(path, "rb", opener=_itself) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        if status.st_uid != os.geteuid():
            raise ValueError(f"it belongs to user {status.st_uid}")
        if status.st_mode & _OTHERS_WRITE:
            raise ValueError(f"others may write to it (mode {stat.S_IMODE(status.st_mode):04o})")
        if file.readline(_LONGEST_LINE) != _VERSION:
            raise ValueError("line 1: it is none of this llmux's")
        return _parsed(file)


def _itself(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _parsed(file: BinaryIO) -> _Found:
    found = _Found()
    for number in range(2, _MOST_LINES):
        line = file.readline(_LONGEST_LINE)
        if not line:
            return found
        try:
            found.changes.append(_change(line, file))
        except (ValueError, RecursionError) as error:
            why = str(error) if type(error) is ValueError else "it is no JSON"
            found.faults.append(f"line {number}: {why}")
    found.faults.append(f"line {_MOST_LINES} and all that follow: there are too many")
    return found


def _change(line: bytes, file: BinaryIO) -> _Change:
    if not line.endswith(b"\n"):
        rest = line
        while len(rest) == _LONGEST_LINE and not rest.endswith(b"\n"):
            rest = file.readline(_LONGEST_LINE)
        raise ValueError("it is too long, or was not written to its end")
    return from_data(json.loads(line))


def _replace(path: Path, changes: Iterable[_Change]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(_VERSION)
            file.writelines(map(_line, changes))
            file.flush()
            os.fsync(handle)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _append(path: Path, changes: Iterable[_Change]) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
        file.writelines(map(_line, changes))


def _line(change: _Change) -> bytes:
    return json.dumps(as_data(*change)).encode() + b"\n"
