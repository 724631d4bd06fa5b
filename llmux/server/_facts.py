"""What is to be seen of an engine that an earlier llmux has left, and whether it is what its record says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmux.server._berth import Record, Task
from llmux.server._ports import listeners

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
    inside = proc_of(init_pid)
    wanted = {f"socket:[{inode}]" for inode in listeners(port)}
    return Facts(
        *sandbox_facts(init_pid),
        task(engine_pid, inside),
        None if not wanted else any(link in wanted for _, link in descriptors(inside)),
    )


def sandbox_facts(init_pid: int) -> tuple[Task | None, str, str]:
    """Return a sandbox's init, and the names of its PID and its mount namespace."""
    namespaces = Path(f"/proc/{init_pid}/ns")
    return task(init_pid), link_of(namespaces / "pid"), link_of(namespaces / "mnt")


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
    return task(pid, proc_of(init_pid))


def task(pid: int, proc: Path = Path("/proc")) -> Task | None:
    """Return the process of this id; None where there is none, or it has exited already."""
    try:
        text = (proc / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()  # from the third field on: the second may hold anything
    return None if state in {"Z", "X"} else Task(pid=pid, start=int(fields[_START - 4]))


def proc_of(init_pid: int) -> Path:
    """Return a sandbox's own /proc."""
    return Path(f"/proc/{init_pid}/root/proc")


def descriptors(proc: Path) -> Iterator[tuple[int, str]]:
    """Give the descriptors of all processes: whose each is, and where it leads to."""
    for process in within(proc):
        if process.name.isdecimal():
            for link in within(process / "fd"):
                yield int(process.name), link_of(link)


def within(directory: Path) -> Iterable[Path]:
    """Return what is in a directory of /proc; nothing where its process has ended meanwhile."""
    try:
        return list(directory.iterdir())
    except OSError:
        return ()


def link_of(path: Path) -> str:
    """Return where a link leads to; nothing where it is gone."""
    with contextlib.suppress(OSError):
        return str(path.readlink())
    return ""
