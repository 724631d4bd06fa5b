"""Where a storm takes place: a container whose init is a shell, in which llmux is started, killed and told to reload."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from proof.bench import CHECKPOINTS, LLMUX, Bench, Settings, report
from proof.client import Http, Llmux
from proof.containers import Container, Memory, Mount, Run, started
from proof.dialing import CLONE_NEWNET, into_namespace_of

GO = "/run/storm-go"
"""While this file is there, llmux is started again whenever it has ended."""
SHELL = ("sh", "-c", f"while :; do if [ -e {GO} ]; then {LLMUX}; else sleep 0.05; fi; done")

_LOOK = """
for p in /proc/[0-9]*; do l=$(tr '\\0' ' ' < $p/cmdline); echo "process $l"; done 2>/dev/null | grep -v -e 'process sleep' -e 'sh -c' -e 'process $'
cut -d' ' -f4- /proc/self/mountinfo | sed 's/^/mount /'
find /dev/shm /run/llmux -not -type d -not -path /run/llmux/journals/in-memory 2>/dev/null | sed 's/^/file /'
find /tmp -type s 2>/dev/null | sed 's/^/socket /'
awk '$4 == "0A" {print "port " $2}' /proc/net/tcp /proc/net/tcp6
"""

_libc = ctypes.CDLL(None, use_errno=True)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Place:
    """A container for a storm, and llmux in it."""

    container: Container
    settings: Settings
    config: Path
    farewell: float = 130
    """Seconds in which llmux has to end."""

    def look(self) -> frozenset[str]:
        """Return what can be seen in the container: processes, mounts, shared memory, sockets, ports, llmux's own files.

        The sockets of a model that sleeps on disk wait for it, and so they are no trace.
        """
        seen = self.container.exec("sh", "-c", _LOOK).splitlines()
        manifests = self.container.exec(
            "sh", "-c", f"cat {CHECKPOINTS}/*/images/*manifest* 2>/dev/null || true"
        )
        return frozenset(line for line in seen if line.split()[-1] not in manifests)

    def start(self) -> None:
        """Let llmux run and wait until it answers."""
        self.container.exec("touch", GO)
        self.llmux.wait_until_it_answers(60, lives=lambda: self.container.running)

    def stop(self) -> None:
        """End llmux by SIGTERM, for good."""
        self.container.exec("rm", "-f", GO)
        self.end()

    def end(self) -> None:
        """End llmux by SIGTERM; it is started again. Raises TimeoutError."""
        pids = self.pids(is_llmux)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + self.farewell
        while any(Path(f"/proc/{pid}").exists() for pid in pids):
            if time.monotonic() > until:
                raise TimeoutError("llmux does not end after SIGTERM")
            time.sleep(0.02)

    def signal(self, number: signal.Signals, which: Callable[[str], bool]) -> int:
        """Send a signal to the processes of the container whose command line `which` picks; return how many got it."""
        pids = self.pids(which)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return len(pids)

    def pids(self, which: Callable[[str], bool]) -> list[int]:
        """Return the ids on this host of the container's processes that `which` picks by their command line."""
        return [pid for pid, line in self._processes() if which(line)]

    def reconfigure(self, settings: Mapping[str, object]) -> None:
        """Write the configuration anew, in place: it is mounted by its inode."""
        self.config.write_text(json.dumps(settings))

    def run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Run a coroutine in the container's network namespace, where llmux is at 127.0.0.1."""
        with ThreadPoolExecutor(max_workers=1) as threads:
            return threads.submit(_run_inside, self.container.pid, work).result()

    @property
    def llmux(self) -> Llmux:
        return Llmux(Http(into_namespace_of(self.container.pid), self.settings.port))

    def _processes(self) -> Iterator[tuple[int, str]]:
        identity = self.container.inspect("{{.Id}}")
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if identity in (process / "cgroup").read_text():
                    line = (process / "cmdline").read_text(errors="replace")
                    yield int(process.name), line.replace("\0", " ").strip()


def is_llmux(line: str) -> bool:
    """Tell whether a command line is llmux's own."""
    return LLMUX in line and "sh -c" not in line


def is_shell(line: str) -> bool:
    """Tell whether a command line is that of the container's init, or of what it waits with."""
    return line.startswith(("sh -c", "sleep"))


def is_engine_of(model: str) -> Callable[[str], bool]:
    """Return what picks the processes of a model's engine: its API process, whose end takes the others along."""
    return lambda line: "llmux.tiny_engine serve" in line and f" {model} " in f"{line} "


def is_engine_at(port: int) -> Callable[[str], bool]:
    """Return what picks the API process of the engine that has this port."""
    return lambda line: "llmux.tiny_engine serve" in line and f" --port {port} " in f"{line} "


@contextlib.contextmanager
def place(
    here: Bench, settings: Settings, mounts: tuple[Memory, ...] = (), farewell: float = 130
) -> Iterator[Place]:
    """Start a container in which llmux does not run yet; remove it at the end. Where the block fails, logs are printed."""
    fixed = here.mounts_for("storm", settings)
    replaced = {mount.target for mount in mounts}
    kept: tuple[Mount | Memory, ...] = tuple(mount for mount in fixed if mount.target not in replaced)
    with started(Run(here.image, (*kept, *mounts), command=SHELL), "storm") as container:
        try:
            yield Place(container, settings, here.directory / "config-storm.json", farewell)
        except Exception:
            report(container)
            raise


def _run_inside(pid: int, work: Callable[[], Awaitable[Result]]) -> Result:
    """setns(2) moves the calling thread only, and all sockets that it makes from then on."""
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if _libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot enter the network namespace of {pid}: {os.strerror(number)}")

    async def main() -> Result:
        return await work()

    return asyncio.run(main())
