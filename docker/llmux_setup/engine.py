"""The Docker engine: the one that answers, or else a private dockerd of this checkout.

The private one has its socket, data and log below .docker/ and touches neither the machine's own engine nor its firewall. Whoever
needs it holds a shared lock on .docker/users while working; the last to leave stops it, unless `start` said to keep it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import debian
from .paths import ENGINE, ROOT, run_directory
from .shell import SetupError, exclusively, output, say, start_daemon, step, succeeds

_RUN = run_directory(ENGINE)
_SOCKET = _RUN / "docker.sock"
_PID_FILE = _RUN / "dockerd.pid"
_LOG = ENGINE / "dockerd.log"
_KEEP = ENGINE / "keep"
_STARTING = ENGINE / "starting"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Engine:
    """An engine that answers. `host` is the DOCKER_HOST that reaches it; None: the client finds it by itself."""

    host: str | None
    private: bool

    @property
    def env(self) -> dict[str, str]:
        """The variables with which programs reach this engine."""
        return {} if self.host is None else {"DOCKER_HOST": self.host}

    def answers(self) -> bool:
        return succeeds("docker", "version", "--format", "{{.Server.Version}}", env=self.env, timeout=20)

    def docker(self, *argv: str | Path) -> str:
        """Return what a short docker command prints."""
        return output("docker", *argv, env=self.env)

    def lines(self, *argv: str) -> list[str]:
        return self.docker(*argv).split()

    def has_image(self, name: str) -> bool:
        return succeeds("docker", "image", "inspect", name, env=self.env)


PRIVATE = Engine(f"unix://{_SOCKET}", private=True)


def running() -> Engine | None:
    """Return the engine that answers: the environment's, the machine's, or this checkout's private one."""
    if shutil.which("docker") is None:
        return None
    foreign = Engine(os.environ.get("DOCKER_HOST"), private=os.environ.get("DOCKER_HOST") == PRIVATE.host)
    if foreign.answers():
        return foreign
    if foreign.host is not None and not foreign.private:
        raise SetupError(
            f"the Docker engine at DOCKER_HOST={foreign.host} does not answer",
            hint="start it, or unset DOCKER_HOST to let the set-up find or start one",
        )
    return PRIVATE if _SOCKET.exists() and PRIVATE.answers() else None


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """Give an engine for a while; a private one that nobody else uses is stopped afterwards."""
    ENGINE.mkdir(exist_ok=True)
    with (ENGINE / "users").open("w") as users:
        with exclusively(_STARTING):
            found = running() or _start()
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield found
        finally:
            if found.private:
                _leave(users.fileno())


def _leave(users: int) -> None:
    with exclusively(_STARTING), contextlib.suppress(BlockingIOError):
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _KEEP.exists():
            stop()


def keep() -> Engine:
    """Start the engine and leave it running until `stop` is asked for."""
    with engine() as found:
        if found.private:
            _KEEP.touch()
        return found


def _start() -> Engine:
    _need_programs()
    with step("private Docker engine: starting"):
        _RUN.mkdir(parents=True, exist_ok=True)
        _PID_FILE.unlink(missing_ok=True)
        pid = start_daemon(_command(), _LOG)
        try:
            _wait_until_answers(pid)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            raise
    return PRIVATE


def _wait_until_answers(pid: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not PRIVATE.answers():
        if time.monotonic() > deadline or os.waitpid(pid, os.WNOHANG)[0] == pid:
            tail = _LOG.read_text(errors="replace").splitlines()[-10:]
            raise SetupError(f"dockerd did not start (its log: {_LOG})", "\n".join(tail))
        time.sleep(0.2)


def _need_programs() -> None:
    if not debian.is_root():
        hint = "start Docker, or become a member of the group `docker`, or run this as root"
        if shutil.which("dockerd") is None:
            hint = "install Docker (sudo apt-get install docker.io) and become a member of the group `docker`"
        raise SetupError("no Docker engine answers", hint=hint)
    if shutil.which("dockerd") is None:
        debian.install("docker.io", why="Docker's engine")
    if shutil.which("docker") is None:
        debian.install("docker-cli", why="Docker's client")


def _command() -> list[str]:
    """Return a dockerd that changes nothing of the machine's network: containers use the host's, or bridges made for them."""
    return [
        "dockerd",
        f"--host={PRIVATE.host}",
        f"--data-root={ENGINE / 'data'}",
        f"--exec-root={_RUN / 'exec'}",
        f"--pidfile={_PID_FILE}",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
        "--ip-masq=false",
    ]


def stop() -> None:
    """Stop the private engine with all its containers and take its run directory back.

    Says nothing, so that the last line of a test run is the tests' own.
    """
    pid = _daemon_pid()
    if pid is not None:
        _end(pid)
    _KEEP.unlink(missing_ok=True)
    unmount_below(ENGINE)
    unmount_below(_RUN)
    shutil.rmtree(_RUN, ignore_errors=True)


def _end(pid: int) -> None:
    if PRIVATE.answers():
        if containers := PRIVATE.lines("ps", "--all", "--quiet"):
            PRIVATE.docker("rm", "--force", "--volumes", *containers)
        # A bridge outlives the engine that made it.
        PRIVATE.docker("network", "prune", "--force")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _is_dockerd(pid):
        if time.monotonic() > deadline:
            say(f"    dockerd (process {pid}) takes longer than {_STOP_SECONDS:.0f} s: killed")
            os.kill(pid, signal.SIGKILL)
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.1)


def _daemon_pid() -> int | None:
    try:
        pid = int(_PID_FILE.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return pid if _is_dockerd(pid) else None


def _is_dockerd(pid: int) -> bool:
    """Tell whether the process is our dockerd: a pid file outlives its process, and ids are used again."""
    try:
        return str(_PID_FILE).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def unmount_below(directory: Path) -> None:
    """Detach what a killed engine left mounted below `directory`, the deepest first."""
    for point in reversed(mounts_below(Path("/proc/self/mounts").read_text(), directory)):
        output("umount", "--lazy", point)


def mounts_below(table: str, directory: Path) -> list[str]:
    """Return the mount points of a proc(5) mounts table that lie below `directory`, in the order of mounting."""
    points = (line.split()[1].encode().decode("unicode_escape") for line in table.splitlines())
    return [point for point in points if Path(point).is_relative_to(directory)]


def describe(found: Engine) -> str:
    """Say how to reach the engine by hand."""
    where = found.host or "the client's default"
    return f"Docker engine: {where}{' (private to ' + str(ROOT) + ')' if found.private else ''}"
