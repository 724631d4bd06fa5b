"""The store of checkpoints: generations, published atomically, so that a crash at any point leaves a whole one.

    ROOT/MODEL/images/           the published checkpoint: CRIU's images, the library's manifest, llmux-checkpoint.json
    ROOT/MODEL/.generation-N/    one in the making, or one that has been replaced and not yet been removed

Interface (synchronous: call it in a thread):
    store = CheckpointStore(root)
    store.recover(model) -> tuple[str, ...]      at start: finish or clean what a crash left; says what it did
    store.newest(model, also=None) -> Checkpoint | None      `also` is another place to look, the newer one wins
    store.begin(model) -> Generation             .directory is where criu dumps to
    store.publish(generation, facts) -> Checkpoint
    store.discard(generation)
    store.remove(model)
    with store.in_use(checkpoint): ...           while it is being restored nobody removes it; does not block

A directory without manifest or without llmux-checkpoint.json is unfinished; of the finished ones the highest generation
counts. Whoever removes a directory must first get its exclusive flock(2): its maker and its readers hold it, which lets
several containers share one store. The images themselves are not flushed to disk (that would cost a sleep seconds): a
power failure may damage them, and the manifest's digests find that.

Raises CheckpointPlaceRefused and CheckpointInvalid.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from llmux.criu_images import MANIFEST_NAME, CriuImagesError, Manifest, read_manifest
from llmux.server._effect_errors import CheckpointInvalid, CheckpointPlaceRefused
from llmux.server._exchange import put_in_place
from llmux.server._locks import Lock, locked, make_locked, remove_unlocked
from llmux.server._model import Eviction, Process, Weights
from llmux.server._remains import remove_sockets
from llmux.server.cuda.devices import CHOICE, Devices

FACTS_NAME = "llmux-checkpoint.json"
PUBLISHED = "images"

_GENERATION = re.compile(r"\.generation-([0-9]{1,18})")
_UNFINISHED = 0
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Facts:
    """What the server wants to know of a checkpoint again. Times in seconds since the epoch, durations in seconds."""

    eviction: Eviction
    """The sleep that it was made by."""
    command: str
    """`fingerprint` of the command that the engine was started with."""
    engine_started_at: float
    seconds: float
    """How long the sleep took."""
    devices: Devices | None = None
    """The GPUs that the engine has left, if any."""


@dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint."""

    directory: Path
    generation: int
    created_at: datetime
    size_bytes: int
    """What it takes on disk: holes are not counted, and a file with several names once."""
    max_id: int
    """The highest PID, TID, PGID or SID in it."""
    facts: Facts
    capture_seconds: float | None = None
    """What the library's capture took of the tree's frozen time, where the manifest tells."""


@dataclass(frozen=True)
class Generation:
    """A checkpoint in the making; `lock` keeps others from removing it."""

    model: str
    directory: Path
    number: int
    lock: Lock


class _Document(BaseModel):
    """llmux-checkpoint.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    version: Literal[1] = 1
    llmux: str
    model: str
    generation: int = Field(ge=1)
    created_at: AwareDatetime
    weights: Weights
    process: Process
    command: str
    engine_started_at: float
    seconds: float
    devices: Devices | None = None

    def facts(self) -> Facts:
        eviction = Eviction(self.weights, self.process)
        return Facts(eviction, self.command, self.engine_started_at, self.seconds, self.devices)


def fingerprint(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """Return a digest of how an engine is started, but for its GPUs: a checkpoint of another start is not this model's."""
    text = json.dumps([list(argv), sorted(item for item in env.items() if item[0] not in CHOICE)])
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


class CheckpointStore:
    """All checkpoints below one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def recover(self, model: str) -> tuple[str, ...]:
        """Publish the newest finished generation if a crash kept it from that; remove the rest."""
        home = self._root / model
        if not os.path.lexists(home):
            return ()
        self._check(model)
        published = home / PUBLISHED
        done = []
        with contextlib.ExitStack() as locks:
            free = [path for path in generations(home) if locks.enter_context(locked(path))]
            newest = max(free, key=finished, default=published)
            if finished(newest) > finished(published):
                put_in_place(newest, published)
                done.append("published a checkpoint that a crash had kept from that")
        for path in generations(home):
            done += [f"removed {socket}, left by an engine of {path.name}" for socket in _sockets_of(path)]
        done += [f"removed the left-over {path.name}" for path in generations(home) if remove_unlocked(path)]
        return tuple(done)

    def newest(self, model: str, also: Path | None = None) -> Checkpoint | None:
        """Return the published checkpoint of `model`, or the one at `also` if that is newer; None where neither exists.

        Raises CheckpointInvalid if something is there but nothing that may be restored.
        """
        found: list[Checkpoint] = []
        problem: CheckpointInvalid | CheckpointPlaceRefused | None = None
        own = self._root / model / PUBLISHED
        for directory in dict.fromkeys([own, *([also] if also else [])]):
            if not os.path.lexists(directory):
                continue
            try:
                if directory == own:
                    self._check(model)
                found.append(_read(directory, model))
            except (CheckpointInvalid, CheckpointPlaceRefused) as error:
                problem = problem or error
        if problem and not found:
            raise problem
        return max(found, key=lambda each: each.created_at, default=None)

    def has(self, model: str) -> bool:
        """Say whether there is a published checkpoint of `model`, be it one that cannot be restored."""
        return os.path.lexists(self._root / model / PUBLISHED)

    def in_the_making(self, model: str) -> int | None:
        """Return how many bytes are written of the checkpoint that is being made; None where none is, or it just ended."""
        try:
            making = [each for each in generations(self._root / model) if not finished(each)]
            return size_on_disk(max(making, key=_number)) if making else None
        except OSError:
            return None

    def begin(self, model: str) -> Generation:
        """Make the directory that the next checkpoint is dumped to."""
        home = self._root / model
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check(model)
            while True:
                taken = [_number(path) for path in generations(home)]
                number = 1 + max([*taken, finished(home / PUBLISHED)])
                directory = home / f".generation-{number}"
                if lock := make_locked(directory):
                    return Generation(model, directory, number, lock)
        except OSError as error:
            raise _unwritable(home, error) from error

    def publish(self, generation: Generation, facts: Facts) -> Checkpoint:
        """Put a generation whose dump has succeeded into place, and remove the one that it replaces."""
        document = _Document(
            llmux=version("llmux"),
            model=generation.model,
            generation=generation.number,
            created_at=datetime.now(UTC),
            weights=facts.eviction.weights,
            process=facts.eviction.process,
            command=facts.command,
            engine_started_at=facts.engine_started_at,
            seconds=facts.seconds,
            devices=facts.devices,
        )
        published = generation.directory.parent / PUBLISHED
        try:
            _write_durably(generation.directory / FACTS_NAME, document.model_dump_json(indent=2).encode())
            checkpoint = _read(generation.directory, generation.model)
            put_in_place(generation.directory, published)
        except OSError as error:
            raise _unwritable(generation.directory, error) from error
        generation.lock.close()
        # What cannot be removed now is left to the next start: the new one is published already.
        with contextlib.suppress(OSError):
            remove_unlocked(generation.directory)
        return replace(checkpoint, directory=published)

    def discard(self, generation: Generation) -> None:
        """Remove a generation whose dump has failed."""
        generation.lock.close()
        remove_unlocked(generation.directory)

    def remove(self, model: str) -> None:
        """Remove the published checkpoint, unless another container is restoring it: that one then removes it.

        Its facts go first, so that a half-removed one is never published again.
        """
        published = self._root / model / PUBLISHED
        with locked(published) as ours:
            number = finished(published)
            if not ours or number == _UNFINISHED:
                return
            (published / FACTS_NAME).unlink()
            left = published.with_name(f".generation-{number}")
            published.rename(left)
            shutil.rmtree(left)

    @contextlib.contextmanager
    def in_use(self, checkpoint: Checkpoint) -> Iterator[None]:
        """Keep everybody from removing a checkpoint while it is read."""
        try:
            lock = Lock(checkpoint.directory, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            reason = f"it is being replaced at this moment ({error.strerror})"
            raise CheckpointInvalid(str(checkpoint.directory), reason, hint="Try again") from error
        with contextlib.closing(lock):
            if finished(checkpoint.directory) != checkpoint.generation:
                reason = "it was replaced at this moment"
                raise CheckpointInvalid(str(checkpoint.directory), reason, hint="Try again")
            yield

    def _check(self, model: str) -> None:
        """Refuse directories that somebody else could put another checkpoint into: criu restores it as root."""
        root = self._root.stat()
        if root.st_mode & stat.S_IWOTH and not root.st_mode & stat.S_ISVTX:
            reason = f"everybody may write to it (mode {stat.S_IMODE(root.st_mode):04o})"
            raise CheckpointPlaceRefused(str(self._root), reason, hint=f"chmod o-w {self._root}")
        _check_own(self._root / model)


def _check_own(path: Path, is_kind: Callable[[int], bool] = stat.S_ISDIR) -> None:
    """Refuse a directory, or a file, that is not ours alone to write."""
    found = path.lstat()
    if not is_kind(found.st_mode):
        kind = "directory" if is_kind is stat.S_ISDIR else "regular file"
        reason = "it is a symbolic link" if stat.S_ISLNK(found.st_mode) else f"it is no {kind}"
    elif found.st_uid != os.geteuid():
        reason = f"it belongs to user {found.st_uid} and llmux runs as user {os.geteuid()}"
    elif found.st_mode & _OTHERS_WRITE:
        reason = f"others may write to it (mode {stat.S_IMODE(found.st_mode):04o})"
    else:
        return
    hint = f"Remove it, or if you trust what is in it: chown {os.geteuid()} {path}; chmod go-w {path}"
    raise CheckpointPlaceRefused(str(path), reason, hint=hint)


def _read(directory: Path, model: str) -> Checkpoint:
    """Read a finished checkpoint. Raises CheckpointInvalid, CheckpointPlaceRefused."""
    try:
        _check_own(directory)
        for name in (MANIFEST_NAME, FACTS_NAME):
            if os.path.lexists(directory / name):
                _check_own(directory / name, stat.S_ISREG)
        manifest = read_manifest(directory)
        document = _Document.model_validate_json((directory / FACTS_NAME).read_bytes())
        _check_sizes(directory, manifest)
        size = size_on_disk(directory)
    except CriuImagesError as error:
        raise CheckpointInvalid(str(directory), error.what(), hint=error.hint) from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        reason = f"{FACTS_NAME}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"
        raise CheckpointInvalid(str(directory), reason) from error
    except OSError as error:
        raise CheckpointInvalid(str(directory), f"{error.filename}: {error.strerror}") from error
    if document.model != model:
        raise CheckpointInvalid(str(directory), f"it is of the model {document.model!r}, not of {model!r}")
    return Checkpoint(
        directory,
        document.generation,
        document.created_at,
        size,
        manifest.max_id,
        document.facts(),
        manifest.cost.microseconds / 1e6 if manifest.cost else None,
    )


def _check_sizes(directory: Path, manifest: Manifest) -> None:
    """Find a cut-off image, or one that others may write to, now: digests are criu's hook's to compare, at the restore."""
    for image in manifest.images:
        _check_own(directory / image.name, stat.S_ISREG)
        size = (directory / image.name).lstat().st_size
        if size != image.size:
            raise CheckpointInvalid(
                str(directory), f"{image.name} has {size} bytes, but had {image.size} when it was made"
            )


def size_on_disk(directory: Path) -> int:
    """Return what it takes: holes are not counted, and a file with several names once."""
    blocks = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            found = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - os.walk's own words
            blocks[found.st_dev, found.st_ino] = found.st_blocks * 512  # stat(2): always units of 512
    return sum(blocks.values())


def finished(directory: Path) -> int:
    """Return the generation of a finished checkpoint, 0 for anything else."""
    try:
        if not (directory / MANIFEST_NAME).is_file():
            return _UNFINISHED
        return _Document.model_validate_json((directory / FACTS_NAME).read_bytes()).generation
    except (OSError, ValidationError):
        return _UNFINISHED


def _sockets_of(path: Path) -> tuple[Path, ...]:
    """Remove the names that an unfinished generation's engine has left, unless somebody is still at work on it."""
    with locked(path) as ours:
        return remove_sockets(path) if ours and finished(path) == _UNFINISHED else ()


def generations(home: Path) -> list[Path]:
    """Return those below a model's directory that are in the making, or left."""
    return sorted(path for path in home.iterdir() if _GENERATION.fullmatch(path.name))


def _number(path: Path) -> int:
    return int(path.name.removeprefix(".generation-"))


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _unwritable(path: Path, error: OSError) -> CheckpointPlaceRefused:
    hint = {
        errno.ENOSPC: "Make room there, or set checkpoint.images_dir to a larger disk",
        errno.EDQUOT: "Make room there, or set checkpoint.images_dir to a larger disk",
        errno.EROFS: "Mount it writable, or set checkpoint.images_dir to a directory that is",
    }.get(error.errno or 0, "Set checkpoint.images_dir to a directory that llmux may write to")
    return CheckpointPlaceRefused(str(path), error.strerror or str(error), hint=hint)
