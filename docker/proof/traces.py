"""What a run could leave behind on the host. Two looks, before and after, are compared."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proof.containers import PREFIX, left_behind, started_ids


@dataclass(frozen=True)
class Traces:
    """Names of what can be seen, each set by its kind."""

    containers: frozenset[str] = frozenset()
    processes: frozenset[str] = frozenset()
    mounts: frozenset[str] = frozenset()
    shared_memory: frozenset[str] = frozenset()
    directories: frozenset[str] = frozenset()

    @classmethod
    def seen(cls) -> Traces:
        """Look at this host."""
        return cls(
            containers=frozenset(left_behind()),
            processes=frozenset(f"{pid} {line}" for pid, line in processes().items()),
            mounts=frozenset(line for line in _lines(Path("/proc/self/mountinfo")) if PREFIX in line),
            shared_memory=frozenset(_unused_shared_memory()),
            directories=frozenset(map(str, _directories())),
        )

    def __bool__(self) -> bool:
        return self != Traces()

    def __sub__(self, before: Traces) -> Traces:
        return Traces(
            self.containers - before.containers,
            self.processes - before.processes,
            self.mounts - before.mounts,
            self.shared_memory - before.shared_memory,
            self.directories - before.directories,
        )


def processes() -> dict[int, str]:
    """Return the command line of each process that this run's containers started, by its id on this host.

    Namespaces live exactly as long as the processes in them, so no process left means no namespace left.
    """
    return dict(_processes())


def _processes() -> Iterator[tuple[int, str]]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            cgroup = (process / "cgroup").read_text()
            if any(container in cgroup for container in started_ids):
                yield int(process.name), (process / "cmdline").read_text(errors="replace").replace("\0", " ")


def _directories() -> Iterator[Path]:
    yield from Path(tempfile.gettempdir()).glob(f"{PREFIX}*")
    yield from Path("/run/llmux").glob("*")


def _unused_shared_memory() -> Iterator[str]:
    """Yield the files of /dev/shm that no process has mapped or open: those nobody will ever remove."""
    used = set(_mapped_shared_memory())
    for path in Path("/dev/shm").iterdir():
        if str(path) not in used:
            yield str(path)


def _mapped_shared_memory() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        for line in _lines(process / "maps"):
            if "/dev/shm/" in line:
                yield line[line.index("/dev/shm/") :]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
