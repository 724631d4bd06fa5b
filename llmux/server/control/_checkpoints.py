"""Checkpoints: which there are, what is in them, whether they are whole; removing them, and what nobody needs."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from aiohttp import web

from llmux.criu_images import CriuImagesError, read_manifest
from llmux.server import _stock
from llmux.server._checkpoints import CheckpointStore
from llmux.server._control_errors import CheckpointInUse, CheckpointUnread, UnknownCheckpoint
from llmux.server._driver import Driver
from llmux.server._forgetting import forget
from llmux.server._hands import Stored
from llmux.server._model import Asleep, Deepening, GoingToSleep, Process, Waking
from llmux.server._names import target_of
from llmux.server._process import Finished, run
from llmux.server._record import Replica
from llmux.server._stock import LeftOver
from llmux.server._web import DRIVER, RELOADER
from llmux.server.control._answers import (
    Bytes,
    CheckpointEntry,
    Checkpoints,
    Count,
    Pruned,
    Removed,
    Verified,
)
from llmux.server.control._form import Answer, Call, Form, Media, answer, body_of
from llmux.server.control._jobs import Kind
from llmux.server.control._operations import HEADERS, STORE, Operation, WaitForWork, perform
from llmux.server.control._reckoning import Pace, Reading, Tally
from llmux.server.control._told import eviction_told
from llmux.server.control._told_parts import iso, problem_told

_READ_IN = 300.0
"""Seconds for the library's report on a checkpoint."""
_VERIFIED_IN = 3600.0
_LARGEST_REPORT = 256 << 20
_SOUND = 0
_CONFLICTS = 3
"""Something is missing; what it is is told all the same."""
_STATUS = b'{"phase": '
"""What a line begins with that says how far the library is (docs/json.md)."""
_GRAPH_HEADERS = {
    # An SVG is a document, and what it draws are names that an engine has chosen.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Content-Type-Options": "nosniff",
}

READING = web.AppKey("reading", asyncio.Semaphore)
"""Reports are made one at a time: each takes a processor."""
PACE = web.AppKey("pace", Pace)
"""How fast checkpoints are verified."""


class CapturedTold(Answer):
    """What the manifest of a checkpoint says of how it was made."""

    host: str
    """The name of the container, or of the machine, that it was made in."""
    kernel: str
    criu: str | None
    """Its version; null where it is not known."""
    llmux: str
    carried_files: Count
    """Files whose content lies beside the images, for a container that lacks them."""
    carried_bytes: Bytes


class CheckpointShown(CheckpointEntry):
    """One checkpoint, with what its manifest says."""

    captured: CapturedTold | None
    """null: it has no manifest that can be read."""


class Nothing(Form):
    """No body is needed."""


class PruneRequest(Form):
    """How to remove what nobody needs."""

    dry_run: bool = False
    """Remove nothing, and say what would be."""


async def list_checkpoints(request: web.Request) -> web.Response:
    """List every replica's checkpoint, and what lies there that nobody needs."""
    driver = request.app[DRIVER]
    entries = [entry for replica in driver.replicas if (entry := _entry(replica))]
    entries += [_left(each) for each in await _left_over(request)]
    return answer(Checkpoints(checkpoints=tuple(entries)))


async def show_checkpoint(request: web.Request) -> web.Response:
    """Show one replica's checkpoint, by the replica's name: its model's, or NAME#2 and so on."""
    replica = _replica(request)
    entry = _entry(replica)
    if entry is None:
        raise _unknown(replica.name)
    captured = await asyncio.to_thread(_captured, replica.stored.path) if replica.stored else None
    return answer(CheckpointShown(**dict(entry), captured=captured))


async def report(request: web.Request) -> web.Response:
    """Say what a checkpoint refers to and what its restore needs: what `python -m llmux.criu_images show --json` writes."""
    told = await _of_library(request, "show", "--json")
    return web.Response(body=told, content_type="application/json")


async def graph(request: web.Request) -> web.Response:
    """Draw who holds which end of what in a checkpoint: processes, sockets, pipes and shared files."""
    told = await _of_library(request, "graph", "--format", "svg")
    return web.Response(body=told, content_type="image/svg+xml", headers=_GRAPH_HEADERS)


async def missing(request: web.Request) -> web.Response:
    """Say what a checkpoint's restore asks for that is not here now, and who brings it: what `show --missing --json` writes."""
    told = await _of_library(request, "show", "--missing", "--json")
    return web.Response(body=told, content_type="application/json")


async def verify(request: web.Request) -> web.Response:
    """Compare a checkpoint's images and side files with its manifest, every byte of them."""
    replica = _replica(request)
    stored = _stored(replica)
    reading = Reading(stored.size_bytes, request.app[PACE].usual(stored.size_bytes))
    work = partial(_verify, request, replica, stored, reading)
    return await perform(request, Kind.VERIFY, replica.model, Nothing(), work, reading.how_far)


async def delete(request: web.Request) -> web.Response:
    """Remove a checkpoint, or what is left of a model that is configured no longer. A model that sleeps in it starts cold."""
    name = request.match_info["name"]
    replica = _find(request.app[DRIVER], name)
    size = await _delete_left(request, name) if replica is None else await _delete(request, replica)
    return answer(Removed(name=name, bytes=size))


async def prune(request: web.Request) -> web.Response:
    """Remove what nobody needs: checkpoints of models that are configured no longer, and half-made ones."""
    asked = await body_of(request, PruneRequest)
    tally = Tally("removing")
    work = partial(_prune, request, tally, dry_run=asked.dry_run)
    return await perform(request, Kind.PRUNE, None, asked, work, tally.how_far)


async def _prune(request: web.Request, tally: Tally, *, dry_run: bool) -> Pruned:
    removed: list[CheckpointEntry] = []
    kept: list[CheckpointEntry] = []
    found = await _left_over(request)
    tally.in_all = sum(each.size_bytes for each in found)
    for each in found:
        gone = dry_run or await asyncio.to_thread(_stock.remove, each)
        (removed if gone else kept).append(_left(each))
        tally.done += each.size_bytes
    return Pruned(dry_run=dry_run, removed=tuple(removed), kept=tuple(kept))


async def _delete(request: web.Request, replica: Replica) -> int:
    stored = replica.stored
    if stored is None and replica.checkpoint_problem is None:
        raise _unknown(replica.name)
    await forget(request.app[DRIVER], replica)
    if store := request.app.get(STORE):
        await asyncio.to_thread(_check_gone, store, replica.name)
    return stored.size_bytes if stored else 0


def _check_gone(store: CheckpointStore, name: str) -> None:
    if store.has(name):
        hint = "Ask again when it is done"
        raise CheckpointInUse(name, "another llmux restores it at this moment", hint=hint)


async def _delete_left(request: web.Request, name: str) -> int:
    orphans = [
        each for each in await _left_over(request) if each.name == name and each.why is _stock.Why.ORPHAN
    ]
    if not orphans:
        raise _unknown(name)
    if not await asyncio.to_thread(_stock.remove, orphans[0]):
        raise CheckpointInUse(name, "another llmux uses it at this moment", hint="Ask again when it is done")
    return orphans[0].size_bytes


async def _left_over(request: web.Request) -> tuple[LeftOver, ...]:
    if RELOADER not in request.app:
        return ()
    names = {each.name for each in request.app[DRIVER].replicas}
    root = request.app[RELOADER].settings.checkpoint.images_dir
    return await asyncio.to_thread(_stock.left_over, root, names)


async def _of_library(request: web.Request, *what: str) -> bytes:
    """Have the library read a checkpoint, in a process of its own: a large one takes it seconds of computing."""
    replica = _replica(request)
    stored = _stored(replica)
    async with request.app[READING]:
        done = await _run(stored.path, *what, seconds=_READ_IN)
    if done.code != _SOUND and not (done.code == _CONFLICTS and done.stdout):
        raise CheckpointUnread(
            replica.name, _said(done), hint="POST /control/checkpoints/NAME/verify says more"
        )
    return done.stdout


async def _verify(request: web.Request, replica: Replica, stored: Stored, reading: Reading) -> Verified:
    asked = time.monotonic()
    async with request.app[READING]:
        began = time.monotonic()
        what = ("verify", "--json", "--status-fd", "2")
        done = await _run(stored.path, *what, seconds=_VERIFIED_IN, on_error_line=partial(_heed, reading))
    sound = done.code == _SOUND
    if sound:
        request.app[PACE].seen(stored.size_bytes, time.monotonic() - began)
    return Verified(
        name=replica.name,
        generation=stored.generation,
        sound=sound,
        fault=None if sound else _said(done),
        report=json.loads(done.stdout) if sound else None,
        seconds=round(time.monotonic() - asked, 3),
    )


def _heed(reading: Reading, line: bytes) -> None:
    """Take note of how far the library is; whatever else it says is no object."""
    if line.startswith(_STATUS):
        told = json.loads(line)
        reading.told(told["phase"], told["done_bytes"], told["total_bytes"])


async def _run(
    directory: Path, *what: str, seconds: float, on_error_line: Callable[[bytes], None] | None = None
) -> Finished:
    # -P: whatever directory llmux was started in, nothing in it is taken for a module.
    argv = (sys.executable, "-P", "-m", "llmux.criu_images", *what, "--", str(directory))
    return await run(argv, timeout=seconds, output_limit=_LARGEST_REPORT, on_error_line=on_error_line)


def _said(done: Finished) -> str:
    lines = (line for line in done.stderr.splitlines() if not line.startswith(_STATUS))
    words = b"\n".join(lines).decode("utf-8", "replace").strip()
    return words.removeprefix("error: ") or f"exit code {done.code}"


def _replica(request: web.Request) -> Replica:
    driver, name = request.app[DRIVER], request.match_info["name"]
    return _find(driver, name) or target_of(driver.served, name).model.replicas[0]


def _find(driver: Driver, name: str) -> Replica | None:
    return next((each for each in driver.replicas if each.name == name), None)


def _stored(replica: Replica) -> Stored:
    if replica.stored is None:
        raise _unknown(replica.name)
    if isinstance(replica.state, GoingToSleep | Deepening):
        hint = "Ask again once it sleeps"
        raise CheckpointInUse(replica.name, "it is being replaced at this moment", hint=hint)
    return replica.stored


def _unknown(name: str) -> UnknownCheckpoint:
    return UnknownCheckpoint(name, hint="GET /control/checkpoints lists those that there are")


def _entry(replica: Replica) -> CheckpointEntry | None:
    stored, problem = replica.stored, replica.checkpoint_problem
    if stored is None and problem is None:
        return None
    return CheckpointEntry(
        name=replica.name,
        model=replica.model,
        kind="published" if stored else "unusable",
        path=str(stored.path) if stored else None,
        bytes=stored.size_bytes if stored else None,
        generation=stored.generation if stored else None,
        created_at=iso(stored.created_at) if stored else None,
        age_seconds=round(max(0.0, time.time() - stored.created_at), 3) if stored else None,
        eviction=eviction_told(stored.eviction) if stored else None,
        use=_use(replica),
        problem=problem_told(problem),
    )


def _captured(directory: Path) -> CapturedTold | None:
    try:
        manifest = read_manifest(directory)
    except CriuImagesError:
        return None
    carried = [each.size for each in manifest.files if each.carried is not None]
    host = manifest.host
    return CapturedTold(
        host=host.name,
        kernel=host.kernel,
        criu=host.criu,
        llmux=host.llmux,
        carried_files=len(carried),
        carried_bytes=sum(carried),
    )


def _use(replica: Replica) -> Literal["none", "asleep", "restoring", "replacing"]:
    match replica.state:
        case Asleep(eviction=eviction) if eviction.process is Process.CHECKPOINT:
            return "asleep"
        case Waking(eviction=eviction) if eviction.process is Process.CHECKPOINT:
            return "restoring"
        case GoingToSleep() | Deepening():
            return "replacing"
        case _:
            return "none"


def _left(one: LeftOver) -> CheckpointEntry:
    return CheckpointEntry(
        name=one.name,
        model=None,
        kind="orphan" if one.why is _stock.Why.ORPHAN else "half_made",
        path=str(one.path),
        bytes=one.size_bytes,
        generation=None,
        created_at=None,
        age_seconds=None,
        eviction=None,
        use="none",
        problem=None,
    )


_OK, _NOT, _CONFLICT = HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT
_UNREAD = HTTPStatus.UNPROCESSABLE_ENTITY
_JSON = Media("application/json", "docs/json.md describes it.", {"type": "object"})
_SVG = Media("image/svg+xml", "The drawing.")
_ONE = "/control/checkpoints/{name}"


def _calls() -> Iterator[Call]:
    yield Call("GET", "/control/checkpoints", list_checkpoints, {_OK: Checkpoints})
    yield Call("GET", _ONE, show_checkpoint, {_OK: CheckpointShown}, (_NOT,))
    yield Call("GET", f"{_ONE}/report", report, {_OK: _JSON}, (_NOT, _CONFLICT, _UNREAD))
    yield Call("GET", f"{_ONE}/missing", missing, {_OK: _JSON}, (_NOT, _CONFLICT, _UNREAD))
    yield Call("GET", f"{_ONE}/graph", graph, {_OK: _SVG}, (_NOT, _CONFLICT, _UNREAD))
    yield Call(
        "POST",
        f"{_ONE}/verify",
        verify,
        {_OK: Verified, HTTPStatus.ACCEPTED: Operation},
        (_NOT, _CONFLICT, _UNREAD, HTTPStatus.TOO_MANY_REQUESTS),
        query=WaitForWork,
        headers=HEADERS,
    )
    yield Call("DELETE", _ONE, delete, {_OK: Removed}, (_NOT, _CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE))
    yield Call(
        "POST",
        "/control/checkpoints/prune",
        prune,
        {_OK: Pruned, HTTPStatus.ACCEPTED: Operation},
        (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.UNPROCESSABLE_ENTITY),
        PruneRequest,
        WaitForWork,
        HEADERS,
    )


CALLS = tuple(_calls())
