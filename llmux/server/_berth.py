"""Berths: the directories by which an llmux finds the engines that an earlier one has left running.

    /run/llmux/engines/NAME.XXXXXXXX/      for root alone; its lock is held as long as its sandbox lives
        socket                             the sandbox's init listens there (`_init_line.py`)
        record.json                        what the next llmux has to know of the engine, replaced by a rename

Interface (synchronous: call it in a thread):
    root_of(run_dir) -> Path
    make(root, record) -> Berth            .fds is what the init inherits; .note(record), .remove()
    left(root) -> tuple[Berth, ...]        those whose sandbox lives; what is left of others is removed

Raises BerthRefused.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from llmux.server._effect_errors import BerthRefused
from llmux.server._locks import Lock, lock_new, remove_unlocked
from llmux.server._model import Weights
from llmux.server.cuda.devices import Devices

_RECORD = "record.json"
_SOCKET = "socket"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


Doing = Literal["busy", "serving", "asleep", "suspended"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Task(_Part):
    """A process; its start time, in the kernel's ticks since boot, tells it from a later one with its id."""

    pid: int
    start: int


class Record(_Part):
    """What is known of an engine that runs."""

    version: Literal[1] = 1
    name: str
    """The replica's."""
    instance: str
    """Which llmux of this machine it belongs to."""
    home: str
    """That one's PID namespace, in which all ids here are but the engine's."""
    command: str
    """The fingerprint of its start."""
    port: int
    log: str
    log_began: int = 0
    """How long the log was when this life began."""
    started_at: float = 0.0
    """When it was started cold, in seconds since the epoch."""
    init: Task | None = None
    pid_namespace: str = ""
    mount_namespace: str = ""
    engine: Task | None = None
    """By its id in the sandbox."""
    doing: Doing = "busy"
    """`busy` is in the middle of a start, a wake, or a way to sleep; `suspended` sleeps with what it had on GPUs in host memory."""
    weights: Weights | None = None
    """What an engine that sleeps has done with them."""
    visible: str | None = None
    """CUDA_VISIBLE_DEVICES, which says on which GPUs it was started."""
    devices: Devices | None = None
    """The GPUs that one has left that is suspended."""


@dataclass(eq=False)
class Berth:
    """One sandbox's directory."""

    directory: Path
    record: Record | None
    """None where it cannot be read."""
    listener: socket.socket | None = None
    lock: Lock | None = None
    fds: tuple[int, ...] = field(default=())

    @property
    def socket(self) -> Path:
        return self.directory / _SOCKET

    def note(self, record: Record) -> None:
        """Write down how it is now; where that cannot be, leave nothing that says otherwise. Raises OSError."""
        self.record = record
        new = self.directory / f"{_RECORD}.new"
        try:
            new.write_text(record.model_dump_json(), "utf-8")
            new.rename(self.directory / _RECORD)
        except OSError:
            (self.directory / _RECORD).unlink(missing_ok=True)
            raise

    def handed_on(self) -> None:
        """Let go of what the init has inherited."""
        if self.listener:
            self.listener.close()
        if self.lock:
            self.lock.close()
        self.listener = self.lock = None

    def remove(self) -> None:
        """Remove it; its sandbox is gone."""
        self.handed_on()
        shutil.rmtree(self.directory, ignore_errors=True)
        with contextlib.suppress(OSError):  # another engine's berth is there
            self.directory.parent.rmdir()


def root_of(run_dir: Path) -> Path:
    """Return where the berths are."""
    return run_dir / "engines"


def make(root: Path, record: Record) -> Berth:
    """Make a berth, its socket bound, for a sandbox that is to be made. Raises BerthRefused."""
    try:
        while True:
            directory, lock = _locked_directory(root, record.name)
            if lock:
                break
    except OSError as error:
        raise BerthRefused(str(root), error.strerror or str(error)) from error
    berth = Berth(directory, record, lock=lock)
    try:
        berth.note(record)
        berth.listener = _bound(directory)
    except OSError as error:
        berth.remove()
        raise BerthRefused(str(directory), error.strerror or str(error)) from error
    berth.fds = (berth.listener.fileno(), lock.fileno())
    return berth


def left(root: Path) -> tuple[Berth, ...]:
    """Return the berths whose sandbox lives, having removed all others. Raises BerthRefused."""
    if not os.path.lexists(root):
        return ()
    _check(root.parent)
    _check(root, _OTHERS)
    found = []
    for directory in sorted(root.iterdir()):
        with contextlib.suppress(FileNotFoundError):
            if not remove_unlocked(directory):
                found.append(Berth(directory, _read(directory / _RECORD)))
    with contextlib.suppress(OSError):
        root.rmdir()
    return tuple(found)


def _locked_directory(root: Path, name: str) -> tuple[Path, Lock | None]:
    """Make a directory and lock it; without a lock where another llmux has just cleared it away."""
    root.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _check(root.parent)
    root.mkdir(mode=0o700, exist_ok=True)
    try:
        _check(root, _OTHERS)
        directory = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=root))
    except FileNotFoundError:
        return root, None
    return directory, lock_new(directory, fcntl.LOCK_SH)


def _check(path: Path, forbidden: int = stat.S_IWGRP | stat.S_IWOTH) -> None:
    """Refuse a directory where somebody else could lay out an engine of theirs: llmux takes it for its own."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        reason = "it is no directory"
    elif found.st_uid != os.geteuid():
        reason = f"it belongs to user {found.st_uid}"
    elif found.st_mode & forbidden:
        reason = f"its mode is {stat.S_IMODE(found.st_mode):04o}"
    else:
        return
    raise BerthRefused(str(path), reason, hint=f"Remove it: llmux makes it anew (rm -r {path})")


def _bound(directory: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    try:
        with short_address(directory / _SOCKET) as address:
            made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


@contextlib.contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Give an address for a socket at `path` by its directory's descriptor: one has 107 bytes at most (unix(7))."""
    handle = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield f"/proc/self/fd/{handle}/{path.name}"
    finally:
        os.close(handle)


def _read(path: Path) -> Record | None:
    try:
        return Record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
