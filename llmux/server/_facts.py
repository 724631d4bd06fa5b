"""What is to be seen of an engine that an earlier llmux has left, and whether it is what its record says."""

from __future__ import annotations

import contextlib
import logging
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmux.server._berth import Record, Task
from llmux.server._ports import listeners

log = logging.getLogger(__name__)

_START = 22
"""The field of the start time in /proc/PID/stat, counted from 1 (proc_pid_stat(5))."""


@dataclass(frozen=True)
class Facts:
    """What was seen."""

    init: Task | None
    pid_namespace: str
    mount_namespace: str
    engine: Task | None
    """By its id inside; None where there is no such process, or a zombie."""
    listens: bool | None
    """Whether a process of the sandbox listens on the port; None where nobody does."""


def look(init_pid: int, engine_pid: int, port: int) -> Facts:
    """Look at a sandbox and the engine in it, by its own /proc."""
    inside = _proc_of(init_pid)
    wanted = {f"socket:[{inode}]" for inode in listeners(port)}
    return Facts(
        *sandbox_facts(init_pid),
        task(engine_pid, inside),
        None if not wanted else any(link in wanted for link in _descriptors(inside)),
    )


def sandbox_facts(init_pid: int) -> tuple[Task | None, str, str]:
    """Return a sandbox's init, and the names of its PID and its mount namespace."""
    namespaces = Path(f"/proc/{init_pid}/ns")
    return task(init_pid), _link(namespaces / "pid"), _link(namespaces / "mnt")


@dataclass(frozen=True)
class Name:
    """A socket's name in the file system, by what tells it from a later one."""

    path: Path
    device: int
    inode: int

    def remove(self) -> bool:
        """Remove it unless it is another file by now; say whether it is gone."""
        if name_of(self.path) != self:
            return False
        self.path.unlink()
        return True


def names_of(init_pid: int) -> tuple[Name, ...]:
    """Return the names of unix sockets that processes of a sandbox have bound, as far as they are seen from here too.

    None where what is looked at is no sandbox, with a PID namespace and a /proc of its own: there they may be anybody's, and llmux
    removes those of an engine that has ended.
    """
    if not _is_apart(init_pid):
        return ()
    held = {link.removeprefix("socket:[").rstrip("]") for link in _descriptors(_proc_of(init_pid))}
    table = Path("/proc/net/unix").read_text("utf-8", "surrogateescape")
    found = (name_of(Path(path)) for path in named_sockets(table, held))
    inside = Path(f"/proc/{init_pid}/root")
    return tuple(name for name in found if name and name.inode == _inode(inside, name))


def _is_apart(init_pid: int) -> bool:
    own, inside = _link(Path(f"/proc/{init_pid}/ns/pid")), _link(_proc_of(init_pid) / "1/ns/pid")
    return own == inside != _link(Path("/proc/self/ns/pid"))


def remove(owner: str, left: Iterable[Name]) -> None:
    """Remove the sockets that an engine had no time to remove."""
    for each in left:
        try:
            if each.remove():
                log.info("%s: removed %s, which its engine had left", owner, each.path)
        except OSError as error:
            log.warning("%s: %s was left: %s", owner, each.path, error)


def named_sockets(table: str, inodes: Collection[str]) -> tuple[str, ...]:
    """Return the paths of those sockets in the text of /proc/net/unix (unix(7)): Num RefCount Protocol Flags Type St Inode Path."""
    rows = (line.split(None, 7) for line in table.splitlines()[1:])
    return tuple(
        dict.fromkeys(row[7] for row in rows if len(row) > 7 and row[6] in inodes and row[7][0] == "/")
    )


def name_of(path: Path) -> Name | None:
    """Return the name of a socket; None where there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return Name(path, found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None


def _inode(inside: Path, name: Name) -> int | None:
    seen = name_of(inside / name.path.relative_to("/"))
    return seen.inode if seen and seen.device == name.device else None


@dataclass(frozen=True)
class Start:
    """How an engine is to be started by the configuration that is now."""

    command: str
    """Its fingerprint."""
    visible: str | None = None
    """CUDA_VISIBLE_DEVICES, which says on which GPUs."""


def fault(record: Record, seen: Facts, start: Start) -> str:
    """Say what of the record is not so, or what else forbids to take the engine over; or nothing."""
    stays = record.visible == start.visible or record.doing == "suspended"
    here = (seen.init, seen.pid_namespace, seen.mount_namespace)
    faults = (
        (record.command != start.command, "its command has been changed in the configuration"),
        (not stays, f"it is to have other GPUs: {start.visible}, and has {record.visible}"),
        (record.doing == "busy", "it was in the middle of a start, a wake or a way to sleep"),
        (
            here != (record.init, record.pid_namespace, record.mount_namespace),
            f"its sandbox is another than its record says: {here}",
        ),
        (seen.engine is None or seen.engine != record.engine, "its process is gone"),
        (seen.listens is None, f"nobody listens on its port {record.port}"),
        (not seen.listens, f"somebody else listens on its port {record.port} (`ss -ltnp` says who)"),
    )
    return next((words for wrong, words in faults if wrong), "")


def task_in(init_pid: int, pid: int) -> Task | None:
    """Return the process that has this id in a sandbox."""
    return task(pid, _proc_of(init_pid))


def task(pid: int, proc: Path = Path("/proc")) -> Task | None:
    """Return the process of this id; None where there is none, or it has exited already."""
    try:
        text = (proc / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()  # from the third field on: the second may hold anything
    return None if state in {"Z", "X"} else Task(pid=pid, start=int(fields[_START - 4]))


def _proc_of(init_pid: int) -> Path:
    return Path(f"/proc/{init_pid}/root/proc")


def _descriptors(proc: Path) -> Iterator[str]:
    for link in proc.glob("[0-9]*/fd/*"):
        yield _link(link)


def _link(path: Path) -> str:
    with contextlib.suppress(OSError):
        return str(path.readlink())
    return ""
