"""What a rebuild has made, written down before it is made, so that even a killed rebuild can be taken back.

One JSON object a line. It lies outside the images' directory, which may be read-only and shared. It is not synced: it serves
after a crash of this program, and a crash of the machine ends the container's processes too, after which a rebuild
finds what an earlier one made and keeps it.
"""

from __future__ import annotations

import enum
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from llmux.criu_images._facts import Born, Claim, Inode
from llmux.criu_images._lock_users import FLOCKS, name_users
from llmux.criu_images._paths import RawPath, escape, unescape
from llmux.criu_images.errors import JournalInvalid

_REMOVE = "Remove it if no restore of this dump is under way"


LOCK_SECONDS = 600.0
"""How long one rebuild waits for another, which may be copying large files."""
_TICK = 0.02
OF_TASK = ".task-"
"""In the name of a journal whose paths are those of a tree with a mount namespace of its own."""


class Kind(enum.Enum):
    """What a line is about."""

    TEMPORARY = "temporary"
    """A file of an unguessable name may be there."""
    NODE = "node"
    """A finished file, FIFO or link may have these names."""
    DIRECTORY_INTENDED = "directory intended"
    DIRECTORY = "directory"
    SOCKET = "socket"
    """Paths that were free and where the restore binds sockets; one that fails leaves them."""
    LEFTOVER = "leftover"
    """Names that were free and that only a restore of this dump makes."""
    MASK = "mask"
    """A mount over the path, of a copy with the identity given."""
    FLAGS = "flags"
    """Inode flags that keep a file or a directory from being changed, the last thing it got."""
    MASKS_PLACE = "masks' place"
    """A directory outside the tree on which memory for copies may be mounted."""
    DIRECTORY_FOUND = "directory found"
    """One that was there, as it was before the first change in it."""
    DIRECTORY_LEFT = "directory left"
    """The same after the last change."""
    BUILT = "built"
    """No path: the rebuild that the lines before are of has come to its end."""
    RESTORED = "restored"
    """No path: the restore that the lines before were for has succeeded (`llmux-criu-hook` writes it at `pre-resume`)."""


@dataclass(frozen=True, slots=True)
class Made:
    """One line: what was made, or may have been."""

    kind: Kind
    paths: tuple[RawPath, ...]
    device: int = 0
    inode: int = 0
    size: int = 0
    mtime_ns: int = 0
    birth_ns: int = 0
    flags: int = 0

    @classmethod
    def of(cls, kind: Kind, paths: tuple[RawPath, ...], inode: Inode) -> Made:
        """Describe what is `inode` now, so that it is known again."""
        return cls(kind, paths, inode.device, inode.number, inode.size, inode.mtime_ns, inode.birth_ns or 0)

    @property
    def born(self) -> Born:
        return self.device, self.inode, self.birth_ns


@contextmanager
def locked(journal: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Let one rebuild or undo at a time run beside `journal`; make its directory, root's alone.

    Two models that wake at once may need the same directories. Raises JournalInvalid, also where another has not ended after `seconds`.
    """
    with _named(journal.parent):
        journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(journal.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check_private(journal.parent, os.fstat(fd))
        with _named(journal.parent):
            _lock(fd, journal.parent, seconds)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, directory: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() >= deadline:
            who = name_users(fd, FLOCKS) or "a process that is not seen from here"
            raise JournalInvalid(
                os.fsencode(directory),
                f"locked by another rebuild, undo or finish that has not ended after {seconds:g} seconds: {who}",
                hint="End that one if it hangs, then run this again",
            )
        time.sleep(_TICK)


def _check_private(directory: Path, status: os.stat_result) -> None:
    """Undo believes the journal, so nobody else may write one."""
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise JournalInvalid(
            os.fsencode(directory),
            "other users may write to its directory",
            hint="Give it one of root's own (mode 0700)",
        )


class Journal:
    """The open journal of one rebuild, appended to."""

    def __init__(self, path: Path) -> None:
        """Open or make the file, and cut off the last line of one whose writer was killed; raises JournalInvalid."""
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with _named(path):
            self._fd = os.open(path, flags, 0o600)
            os.ftruncate(self._fd, path.read_bytes().rfind(b"\n") + 1)

    def add(self, made: Made) -> None:
        """Append one line, or nothing of it: more lines may come after one that found no room. Raises JournalInvalid."""
        data = format_line(made)
        with _named(self._path):
            whole = os.fstat(self._fd).st_size
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
            except BaseException:
                os.ftruncate(self._fd, whole)
                raise

    def close(self) -> None:
        os.close(self._fd)


def format_line(made: Made) -> bytes:
    """Return a journal's line."""
    line = asdict(made) | {"kind": made.kind.value, "paths": [escape(path) for path in made.paths]}
    return json.dumps(line).encode() + b"\n"


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn what the operating system says into a JournalInvalid about `path`."""
    try:
        yield
    except OSError as error:
        raise JournalInvalid(os.fsencode(path), error.strerror or str(error)) from error


def read_journal(path: Path) -> tuple[Made, ...]:
    """Return a journal's lines, the last one left out if it was cut short; empty without a journal. Raises JournalInvalid."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise JournalInvalid(os.fsencode(path), error.strerror or str(error)) from error
    lines = data.split(b"\n")[:-1]
    try:
        return tuple(map(_parse, lines))
    except (ValueError, KeyError, TypeError) as error:
        raise JournalInvalid(os.fsencode(path), f"not a journal of llmux ({error})", hint=_REMOVE) from error


def _parse(line: bytes) -> Made:
    raw = json.loads(line)
    return Made(
        Kind(raw["kind"]),
        tuple(unescape(path) for path in raw["paths"]),
        int(raw["device"]),
        int(raw["inode"]),
        int(raw["size"]),
        int(raw["mtime_ns"]),
        int(raw["birth_ns"]),
        int(raw.get("flags", 0)),
    )


def settle_restored(path: Path) -> None:
    """Forget a journal whose restore has succeeded, unless it went on after that; raises JournalInvalid."""
    lines = read_journal(path)
    if lines and lines[-1].kind is Kind.RESTORED:
        settle(path)


def read_own(path: Path) -> frozenset[Claim]:
    """Return what the restore of this journal has made or is going to make, if it is not over; raises JournalInvalid."""
    return frozenset(_claims(_open_lines(path)))


def read_claims(path: Path) -> Mapping[Claim, str]:
    """Return what other restores of this place have made or are going to make and that are not over, with their journals' names.

    A journal that cannot be read claims nothing. A name alone means nothing to a tree with a mount namespace of its own, nor does its to others.
    """
    claims: dict[Claim, str] = {}
    for other in sorted(path.parent.glob("*.json")):
        if other.name != path.name:
            apart = OF_TASK in path.name or OF_TASK in other.name
            with suppress(JournalInvalid):
                found = _claims(_open_lines(other))
                claims.update((claim, other.name) for claim in found if claim[1] is not None or not apart)
    return claims


def _claims(lines: Iterable[Made]) -> Iterator[Claim]:
    for made in lines:
        if made.kind is Kind.NODE:
            yield from ((name, made.born) for name in made.paths)
        elif made.kind is Kind.LEFTOVER:
            yield from ((name, None) for name in made.paths)


def cut_short(lines: tuple[Made, ...]) -> tuple[Made, ...]:
    """Return those of a journal's lines whose rebuild was killed before its end."""
    return _after_last(lines, {Kind.BUILT, Kind.RESTORED})


def _open_lines(path: Path) -> tuple[Made, ...]:
    return _after_last(read_journal(path), {Kind.RESTORED})


def _after_last(lines: tuple[Made, ...], kinds: set[Kind]) -> tuple[Made, ...]:
    ends = [number for number, made in enumerate(lines, 1) if made.kind in kinds]
    return lines[ends[-1] :] if ends else lines


def settle(path: Path) -> None:
    """Forget a journal: what it lists stays."""
    with suppress(FileNotFoundError):
        path.unlink()
