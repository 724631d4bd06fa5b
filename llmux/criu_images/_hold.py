"""Starts the holder of external bind points, finds it again from another process, and tells it what to do.

It is found by a control socket beside the journal, in a directory that only root may write to; both ends look at the other's user.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from llmux.criu_images import _holder
from llmux.criu_images._actions import HoldBindPoint
from llmux.criu_images._facts import Peer
from llmux.criu_images._paths import RawPath
from llmux.criu_images._safefs import Tree
from llmux.criu_images.errors import HolderFailed

HOLD_SECONDS = 600.0
"""How long a holder waits for `finish` or `undo`."""
_CHANNEL_SECONDS = 20.0
_ANSWER_SECONDS = 30.0
_SOCKET_NODE = 0o140666


@dataclass(frozen=True, slots=True)
class Held:
    """What was sent to one name while it was held."""

    name: RawPath
    """A path, or an abstract name, which begins with NUL."""
    messages: int
    size: int
    """Of all the messages, in bytes."""
    kept: tuple[bytes, ...]
    """The first messages, up to 10,000 and 1 MiB."""
    with_descriptors: int
    """How many of the messages carried descriptors, which were closed."""
    replayed: int
    """How many of the kept ones were sent on to somebody who has bound the path since."""


@dataclass(frozen=True, slots=True)
class HolderReport:
    """What a holder tells at its end."""

    held: tuple[Held, ...]
    why: str
    """Why it left by itself; empty if it was told to."""
    sockets: tuple[socket.socket, ...] = ()
    """The bound sockets in the order of `held`, where they were handed over."""


def probe_peer(tree: Tree, name: RawPath) -> Peer:
    """Find out who is at an external peer's name, as the restore will; raises UnsafeLink, OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            if name.startswith(b"\0"):
                probe.connect(bytes(name))
            else:
                with tree.open(name, os.O_PATH) as node:
                    probe.connect(f"/proc/self/fd/{node}")
        except (FileNotFoundError, ConnectionRefusedError):
            return Peer.NOBODY
        except PermissionError:  # it talks to somebody else only (unix_may_send)
            return Peer.REFUSES
        except OSError:  # EPROTOTYPE
            return Peer.OTHER_TYPE
    return Peer.LISTENS


def control_of(journal: Path) -> Path:
    """Return where the holder of a journal's rebuild is found."""
    return journal.with_suffix(".hold")


def start_holder(  # noqa: PLR0913 - what the holder is told
    points: Sequence[HoldBindPoint],
    tree: Tree,
    journal: Path,
    ids: Collection[int],
    restorer: int | None,
    *,
    kept: Mapping[RawPath, int] = MappingProxyType({}),
) -> None:
    """Have `points` held by a process of its own, whose id is none of `ids`; raises HolderFailed.

    `restorer` is the PID of the CRIU that is about to restore: if it ends before the tree was restored, the holder leaves.
    `kept` are locked descriptors, by a name of the file; the holder has them too until the tree is restored.
    """
    first = next(iter((*(point.path for point in points), *kept)))
    with ExitStack() as stack:
        try:
            ours, theirs = stack.enter_context(_pair())
            told, fds = _tell(points, tree, journal, restorer, stack)
            socket.send_fds(ours, [told], [*fds, *kept.values()])
            _spawn(theirs)
            theirs.close()
            answer = _await_ready(ours, ids)
        except OSError as error:
            raise HolderFailed(first, error.strerror or str(error)) from error
    if answer != b"ready":
        raise HolderFailed(first, answer.decode(errors="replace") or "it ended at its start")


@contextmanager
def _pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(_CHANNEL_SECONDS)
        yield ours, theirs


def _tell(
    points: Sequence[HoldBindPoint], tree: Tree, journal: Path, restorer: int | None, stack: ExitStack
) -> tuple[bytes, list[int]]:
    """Return the message that says what to hold, and its descriptors, which live as long as `stack`."""
    fds = [tree.descriptor, os.open(journal.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
    stack.callback(os.close, fds[1])
    if restorer is not None:
        fds.append(os.pidfd_open(restorer))
        stack.callback(os.close, fds[-1])
    ways = (tree.way_to(point.name) for point in points if not point.abstract)
    fds.extend(stack.enter_context(way).directory for way in ways)
    told = {
        "points": [_describe(point) for point in points],
        "name": control_of(journal).name,
        "seconds": HOLD_SECONDS,
        "watch": restorer is not None,
        "root": not os.path.samestat(os.fstat(tree.descriptor), os.stat("/")),  # noqa: PTH116 - as fstat
    }
    return json.dumps(told).encode(), fds


def _describe(point: HoldBindPoint) -> Mapping[str, str | int]:
    node = point.metadata
    return {
        "name": point.name.hex(),
        "abstract": point.abstract,
        "mode": _SOCKET_NODE if node is None else node.mode,
        "uid": 0 if node is None else node.uid,
        "gid": 0 if node is None else node.gid,
    }


def _spawn(channel: socket.socket) -> None:
    """Start the program with the channel and nothing else of ours: CRIU's log and the caller's files are not its."""
    high = fcntl.fcntl(channel, fcntl.F_DUPFD_CLOEXEC, 10)
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", _holder.__file__],
            {},
            file_actions=[
                *((os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)),
                (os.POSIX_SPAWN_DUP2, high, _holder.CHANNEL),
            ],
        )
    finally:
        os.close(high)
    with suppress(ChildProcessError):  # the caller ignores SIGCHLD
        os.waitpid(pid, 0)


def _await_ready(channel: socket.socket, ids: Collection[int]) -> bytes:
    """Judge each id that it tells, and return what it says then; empty if it ended."""
    while (told := channel.recv(_holder.MESSAGE)).isdigit():
        channel.send(b"again" if int(told) in ids else b"go")
    return told


def renew_holder(journal: Path, restorer: int | None) -> None:
    """Have an earlier rebuild's holder, if there is one, go on for the restore to come; raises OSError."""
    with ExitStack() as stack:
        fds = [] if restorer is None else [os.pidfd_open(restorer)]
        for fd in fds:
            stack.callback(os.close, fd)
        _ask(journal, b"renew", fds)


def end_holder(journal: Path, *, hand_over: bool = False) -> HolderReport:
    """End the holder, if there is one, and return what was sent to it; raises OSError.

    One that has left by itself has written down what it got; with `hand_over` the sockets are not closed but returned.
    """
    answer = _ask(journal, b"hand over" if hand_over else b"end", [])
    if answer is not None and answer[0]:
        return _parse(*answer)
    left = Path(f"{control_of(journal)}.report")
    try:
        data = left.read_bytes()
    except FileNotFoundError:
        return HolderReport((), "")
    left.unlink()
    return _parse(data, ())


def _ask(journal: Path, request: bytes, fds: list[int]) -> tuple[bytes, tuple[socket.socket, ...]] | None:
    """Return the holder's answer, None if there is none; the control socket of one that was killed is removed."""
    control = control_of(journal)
    directory = os.open(control.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(_ANSWER_SECONDS)
        try:
            asking.connect(f"/proc/self/fd/{directory}/{control.name}")
        except FileNotFoundError:
            return None
        except ConnectionRefusedError:
            control.unlink(missing_ok=True)
            return None
        finally:
            os.close(directory)
        if not _holder.is_trusted(asking):
            return None
        try:
            socket.send_fds(asking, [request], fds)
            return _read_answer(asking)
        except (BrokenPipeError, ConnectionResetError):  # it ends at this moment
            return None


def _read_answer(asking: socket.socket) -> tuple[bytes, tuple[socket.socket, ...]]:
    data, fds, _, _ = socket.recv_fds(asking, _holder.MESSAGE, _holder.MOST_FDS)
    for fd in fds:
        os.set_inheritable(fd, False)
    parts = [data]
    while part := asking.recv(_holder.MESSAGE):
        parts.append(part)
    return b"".join(parts), tuple(socket.socket(fileno=fd) for fd in fds)


def _parse(data: bytes, sockets: tuple[socket.socket, ...]) -> HolderReport:
    try:
        raw = json.loads(data)
    except ValueError:  # it was killed while it wrote, or found no room
        return HolderReport((), "it ended before it had told what was sent to it", sockets)
    held = tuple(
        Held(
            RawPath(bytes.fromhex(point["name"])),
            int(point["messages"]),
            int(point["bytes"]),
            tuple(map(bytes.fromhex, point["kept"])),
            int(point["with_descriptors"]),
            int(point["replayed"]),
        )
        for point in raw["points"]
    )
    return HolderReport(held, str(raw["why"]), sockets)
