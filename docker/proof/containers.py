"""Docker containers of the proof: named so that they can be told from anyone else's, and always removed."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from proof._commands import CommandError, Finished, attempt, run
from proof.dialing import Dialer, into_namespace_of, to_address

PREFIX = f"llmux-proof-{os.getpid()}-"
"""Begins the name of each container, network and directory of this run."""
started_ids: set[str] = set()
"""Docker's ids of all containers that this run has started: processes bear them in their cgroup for life."""
RIGHTS = (
    # All that CRIU asks for, without --privileged, which machines that withhold CAP_SYS_RESOURCE refuse.
    "--cap-add=ALL",
    "--cap-drop=SYS_RESOURCE",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--security-opt=systempaths=unconfined",
)


@dataclass(frozen=True)
class Mount:
    """A host path bound to a path in the container."""

    source: Path
    target: str
    read_only: bool = False

    def __str__(self) -> str:
        return f"--volume={self.source}:{self.target}{':ro' if self.read_only else ''}"


@dataclass(frozen=True)
class Memory:
    """A tmpfs of a limited size, in bytes, at a path in the container."""

    target: str
    size: int

    def __str__(self) -> str:
        return f"--mount=type=tmpfs,destination={self.target},tmpfs-size={self.size}"


@dataclass(frozen=True)
class Run:
    """What `docker run` is told."""

    image: str
    mounts: tuple[Mount | Memory, ...] = ()
    network: str = "none"
    """`host`, `none` (a network namespace with a loopback of its own) or the name of a bridge."""
    flags: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    """Instead of the image's own."""
    rights: tuple[str, ...] = RIGHTS

    def argv(self, name: str) -> list[str]:
        mounts = [str(mount) for mount in self.mounts]
        flags = [f"--name={name}", f"--network={self.network}", *self.rights, *mounts, *self.flags]
        return ["docker", "run", "--detach", *flags, self.image, *self.command]


@dataclass(frozen=True)
class Container:
    """A container that was started and not yet removed."""

    name: str
    network: str
    started: float = field(default_factory=time.monotonic)

    def exec(self, *argv: str, timeout: float = 60, given: str | None = None) -> str:
        """Run a program in the container and return its standard output. Raises CommandError."""
        return run(self._exec(argv, given), timeout=timeout, given=given)

    def attempt(self, *argv: str, timeout: float = 60) -> Finished:
        """Run a program in the container that may fail."""
        return attempt(self._exec(argv, None), timeout=timeout)

    def start(self, *argv: str) -> None:
        """Start a program in the container that goes on by itself, as long as the container at most."""
        run(["docker", "exec", "--detach", self.name, *argv])

    def copy_out(self, path: str, to: Path) -> None:
        """Copy a file of the container to this host."""
        run(["docker", "cp", "--follow-link", f"{self.name}:{path}", str(to)])

    def _exec(self, argv: Sequence[str], given: str | None) -> list[str]:
        return ["docker", "exec", *(["--interactive"] if given is not None else []), self.name, *argv]

    def inspect(self, template: str) -> str:
        """Return what `docker inspect --format` makes of the template."""
        return run(["docker", "inspect", f"--format={template}", self.name]).strip()

    @property
    def pid(self) -> int:
        """The container's first process, in the host's PID namespace."""
        return int(self.inspect("{{.State.Pid}}"))

    @property
    def running(self) -> bool:
        return self.inspect("{{.State.Running}}") == "true"

    @property
    def exit_code(self) -> int:
        return int(self.inspect("{{.State.ExitCode}}"))

    def dialer(self) -> Dialer:
        """Return how to reach this container's ports from here."""
        if self.network == "host":
            return to_address("127.0.0.1")
        # From its own loopback address: without a key llmux lets nobody else control it.
        return into_namespace_of(self.pid)

    def logs(self) -> str:
        """Return all that the container's first process wrote to standard output and error."""
        done = attempt(["docker", "logs", self.name])
        return done.output + done.errors

    def wait(self, seconds: float) -> int:
        """Wait until the container's first process ends; return its exit code. Raises CommandError after `seconds`."""
        return int(run(["docker", "wait", self.name], timeout=seconds))

    def kill(self) -> None:
        """End the container's processes with SIGKILL; its file system stays until `remove`."""
        run(["docker", "kill", self.name])

    def stop(self) -> float:
        """End the container as `docker stop` does (SIGTERM, then after 30 s SIGKILL) and return the seconds it took."""
        began = time.monotonic()
        run(["docker", "stop", "--time=30", self.name], timeout=60)
        return time.monotonic() - began

    def remove(self) -> None:
        """Remove the container, running or not, with all it holds."""
        run(["docker", "rm", "--force", "--volumes", self.name])


@contextlib.contextmanager
def started(options: Run, label: str) -> Iterator[Container]:
    """Start a container and remove it at the end, however the block ends; removing it earlier is fine.

    `label` tells a reader of `docker ps` its part in the story.
    """
    name = f"{PREFIX}{label}-{secrets.token_hex(4)}"
    try:
        started_ids.add(run(options.argv(name), timeout=120).strip())
        yield Container(name, options.network)
    finally:
        # Also where `docker run` failed: it may have made the container before it failed to start it.
        run(["docker", "rm", "--force", "--volumes", name])


@contextlib.contextmanager
def bridge() -> Iterator[str]:
    """Make a bridge network and remove it at the end. Raises CommandError where the machine allows none."""
    name = f"{PREFIX}{secrets.token_hex(4)}"
    run(["docker", "network", "create", "--driver=bridge", name])
    try:
        yield name
    finally:
        run(["docker", "network", "rm", name])


def left_behind() -> list[str]:
    """Return the names of this run's containers and networks that still exist."""
    if not started_ids:
        return []
    mine = ["--filter", f"name={PREFIX}"]
    containers = run(["docker", "ps", "--all", *mine, "--format={{.Names}}"])
    networks = run(["docker", "network", "ls", *mine, "--format={{.Name}}"])
    return [*containers.split(), *networks.split()]


def check_image(image: str) -> None:
    """Raise UnreadyError unless a Docker engine answers and has the image."""
    try:
        answer = attempt(["docker", "version", "--format={{.Server.Version}}"])
    except FileNotFoundError as error:
        raise UnreadyError("the program `docker` isn't there", "run `make setup`") from error
    if answer.code != 0:
        raise UnreadyError(
            f"no Docker engine answers ({answer.errors.strip()})", "run `make setup`, or set DOCKER_HOST"
        )
    try:
        run(["docker", "image", "inspect", image])
    except CommandError as error:
        raise UnreadyError(f"the Docker engine has no image {image}", "run `make setup`") from error


class UnreadyError(Exception):
    """The machine lacks something that the proof runs on."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what, hint)
        self.what, self.hint = what, hint

    def __str__(self) -> str:
        return f"{self.what}: {self.hint}"
