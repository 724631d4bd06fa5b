"""A model's sandbox: a PID and a mount namespace whose init is `_init.py`, and everything llmux starts in them.

Interface (ids are those inside the sandbox, but for `init_pid`):
    Isolation(shm=True, tmp=False)       which directories are the sandbox's own
    Command(argv, env, cwd, log)         a program: its whole environment, its directory, the file it logs to
    await Sandbox.create(isolation, keep=(), berth=None, linger=0.0) -> Sandbox
    await Sandbox.attach(berth) -> Sandbox        one that an earlier llmux has left
        .init_pid                        the init's id as llmux sees it
        .mount_namespace                 its name, as readlink(1) of /proc/PID/ns/mnt prints it
        .ended                           future: done when the sandbox is gone, however it ended
        await .start_engine(command) -> Child      ids from 1000 up, io_uring hidden
        await .run(argv, log=, timeout=, last_pid=None, env=None) -> int     criu and the like, no filter
        .adopt(pid) -> Child             a restored root
        .clear()                         ends everything in it but its init, before the next program is run
        await .close()                   ends everything in it; may be called again
    Child: .pid, .returncode, await .wait() -> code (a signal negated), await .terminate(grace) -> code

Whatever kills llmux, the kernel closes the init's stdin, the init exits and everything in its namespace is killed;
after `linger` seconds, where it has a berth and no other llmux has come for it till then.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from llmux.server import _open_files
from llmux.server._attachment import Attachment
from llmux.server._berth import Berth
from llmux.server._effect_errors import DOCKER_OPTIONS, NotStarted, SandboxEnded, SandboxRefused, TookTooLong
from llmux.server._process import KILL_GRACE, Conversation, term_then_kill
from llmux.server._seccomp import filter_program

FIRST_ENGINE_PID = 1000
"""Below it there is room for a whole life of criu's helpers, so that no later restore meets an id of the dump."""

_PACKAGES = str(Path(__file__).parents[2])
_CODE = f"import sys; sys.path.append({_PACKAGES!r}); from llmux.server._init import main; main()"
# Isolated and without site: the init's memory stays small and no environment can change what it runs.
INIT = (sys.executable, "-I", "-S", "-X", "utf8", "-c", _CODE)
_CREATE_TIMEOUT = 30.0
_ATTACH_TIMEOUT = 3.0
"""Seconds in which an init notices that its llmux is gone, or comes to listen."""
_KILLED = -int(signal.SIGKILL)
_NO_FILE = os.strerror(errno.ENOENT)
_CREATE_HINT = (
    "llmux makes PID and mount namespaces and must run as root with CAP_SYS_ADMIN; in Docker add "
    + DOCKER_OPTIONS
)


@dataclass(frozen=True)
class Isolation:
    """The directories that a model has to itself: an empty tmpfs in each sandbox."""

    shm: bool = True
    tmp: bool = False


@dataclass(frozen=True)
class Command:
    """A program to start; `env` is its whole environment, and `log` takes its stdout and stderr, appended."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    log: Path


class Child:
    """A direct child of the sandbox's init."""

    def __init__(self, sandbox: Sandbox, pid: int, exit_code: asyncio.Future[int]) -> None:
        self.pid = pid
        self._sandbox = sandbox
        self._exit_code = exit_code

    def __repr__(self) -> str:
        return f"<Child {self.pid} of {self._sandbox!r}>"

    @property
    def returncode(self) -> int | None:
        """Return the exit code, a signal's number negated, or None while it lives."""
        return self._exit_code.result() if self._exit_code.done() else None

    async def wait(self) -> int:
        """Wait for its end. A child that died with its sandbox was killed: -9."""
        return await asyncio.shield(self._exit_code)

    async def terminate(self, grace: float) -> int:
        """TERM it, KILL it after `grace` seconds; return the exit code. Its own children are `Sandbox.close`'s."""
        return await term_then_kill(self._signal, self._exit_code, grace)

    def _signal(self, number: signal.Signals) -> None:
        self._sandbox.signal(self.pid, number)


class Sandbox:
    """One engine's life: made before it starts or wakes, closed when it sleeps or stops."""

    def __init__(self, berth: Berth | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.init_pid = 0
        self.mount_namespace = ""
        self.berth = berth
        self._ready: asyncio.Future[int] = loop.create_future()
        self._conversation: Conversation | Attachment
        self._spawn_ids = itertools.count(1)
        self._spawning: dict[int, asyncio.Future[int]] = {}
        self._exit_codes: dict[int, asyncio.Future[int]] = {}

    def __repr__(self) -> str:
        return f"<Sandbox {self.init_pid}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @classmethod
    async def create(
        cls,
        isolation: Isolation,
        keep: Sequence[Path] = (),
        *,
        berth: Berth | None = None,
        linger: float = 0.0,
    ) -> Self:
        """Make the namespaces. Directories in `keep` stay reachable even below a private /tmp or /dev/shm.

        With a berth it outlasts llmux by `linger` seconds, unless it is closed.
        Raises SandboxRefused with the step that the kernel or the container did not allow.
        """
        sandbox = cls(berth)
        plan = asdict(isolation) | {"keep": [str(path) for path in keep]}
        plan |= {"open_files": _open_files.given()}
        fds = berth.fds if berth else ()
        if fds:
            plan |= {"linger": linger, "listener": fds[0], "berth": fds[1]}
        try:
            argv = [*INIT, json.dumps(plan)]
            conversation = await Conversation.start(argv, on_line=sandbox._heard, env={}, pass_fds=fds)
        finally:
            if berth:
                berth.handed_on()
        try:
            await sandbox._begin(conversation)
        except BaseException:
            await sandbox.close()
            raise
        return sandbox

    @classmethod
    async def attach(cls, berth: Berth) -> Self:
        """Take over what an earlier llmux has left, with all that runs in it. Raises NotAttached."""
        sandbox = cls(berth)
        attachment = await Attachment.open(berth.socket, sandbox._heard, _ATTACH_TIMEOUT)
        await sandbox._begin(attachment)
        sandbox.init_pid = attachment.pid
        return sandbox

    async def _begin(self, conversation: Conversation | Attachment) -> None:
        self._conversation = conversation
        conversation.ended.add_done_callback(self._lost)
        self.init_pid = await asyncio.wait_for(self._ready, _CREATE_TIMEOUT)
        self.mount_namespace = await asyncio.to_thread(_mount_namespace_of, self.init_pid)

    @property
    def ended(self) -> asyncio.Future[int]:
        """Done when the sandbox and all in it are gone."""
        return self._conversation.ended

    async def start_engine(self, command: Command) -> Child:
        """Start the engine with ids from 1000 up, behind the filter that hides io_uring.

        Raises NotStarted and SandboxEnded.
        """
        program = filter_program(platform.machine())
        return await self._spawn(command, program, last_pid=FIRST_ENGINE_PID - 1)

    async def run(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        timeout: float,  # noqa: ASYNC109 - the time-out ends the program, which asyncio.timeout alone would not
        last_pid: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Run a program to its end, its output appended to `log`, and return its exit code.

        `last_pid` makes its own id and all later ones greater than that. `env` is llmux's own where not given.
        Raises NotStarted, SandboxEnded, and TookTooLong after having ended the program and its process group.
        """
        command = Command(tuple(argv), os.environ if env is None else env, "/", log)
        child = await self._spawn(command, b"", last_pid)
        try:
            return await asyncio.wait_for(child.wait(), timeout)
        except TimeoutError:
            await term_then_kill(
                lambda number: self.signal(child.pid, number, group=True), self._exit(child.pid), KILL_GRACE
            )
            raise TookTooLong(argv[0], timeout) from None
        except asyncio.CancelledError:
            self.signal(child.pid, signal.SIGKILL, group=True)
            raise

    def adopt(self, pid: int) -> Child:
        """Return the child that somebody else made for the init, as `criu restore --restore-sibling` does."""
        return Child(self, pid, self._exit(pid))

    def signal(self, pid: int, number: signal.Signals, *, group: bool = False) -> None:
        """Signal a process of the sandbox, or the group that it leads; one that is gone feels nothing."""
        if not self.ended.done():
            self._tell(do="signal", pid=pid, number=int(number), group=group)

    def clear(self) -> None:
        """End every process in the sandbox but its init; whatever is run next starts when they are gone."""
        if not self.ended.done():
            self._tell(do="clear")

    async def close(self) -> None:
        """End everything in the sandbox: its init exits and the kernel kills the rest."""
        if not self.ended.done():
            self._tell(do="end")
        await self._conversation.end(KILL_GRACE)
        if self.berth:
            await asyncio.to_thread(self.berth.remove)

    async def _spawn(self, command: Command, program: bytes, last_pid: int | None) -> Child:
        if self.ended.done():
            raise SandboxEnded(self.init_pid)
        number = next(self._spawn_ids)
        spawned = self._spawning[number] = asyncio.get_running_loop().create_future()
        self._tell(
            do="spawn",
            id=number,
            argv=command.argv,
            env=dict(command.env),
            cwd=command.cwd,
            log=str(command.log),
            filter=program.hex(),
            last_pid=last_pid,
        )
        try:
            pid = await spawned
        except NotStarted as error:
            if error.reason == _NO_FILE and "/" not in error.program:
                error.reason = f"it was not found on PATH ({command.env.get('PATH', os.defpath)})"
            error.hint = (
                "Install it, or name it by its whole path; `llmux doctor` looks for what engines need"
            )
            raise
        except asyncio.CancelledError:
            # The report may have come in this very turn of the loop; else `_spawned` finds nobody waiting.
            if spawned.done() and not spawned.cancelled() and not spawned.exception():
                self.signal(spawned.result(), signal.SIGKILL, group=True)
            raise
        finally:
            self._spawning.pop(number, None)
        return Child(self, pid, self._exit(pid))

    def _tell(self, **order: object) -> None:
        self._conversation.tell(json.dumps(order).encode())

    def _exit(self, pid: int) -> asyncio.Future[int]:
        """Return the future of this id's exit code, whether it was spawned, is to be adopted, or has exited already."""
        if pid not in self._exit_codes:
            self._exit_codes[pid] = asyncio.get_running_loop().create_future()
        return self._exit_codes[pid]

    def _heard(self, line: bytes) -> None:
        """Take one report of the init (the table of reports is at the top of `_init.py`)."""
        match json.loads(line):
            case {"event": "ready", "pid": int(pid)}:
                _settle(self._ready, pid)
            case {"event": "failed", "step": str(step), "error": str(error)}:
                _settle(self._ready, SandboxRefused(step, error, hint=_CREATE_HINT))
            case {"event": "spawned", "id": int(number), "pid": int(pid)}:
                self._spawned(number, pid)
            case {"event": "not_spawned", "id": int(number), "program": str(program), "error": str(error)}:
                if number in self._spawning:
                    _settle(self._spawning[number], NotStarted(program, error))
            case {"event": "exited", "pid": int(pid), "code": int(code)}:
                _settle(self._exit(pid), code)
            case report:
                raise ValueError(f"the init of {self!r} reports {report!r}")

    def _spawned(self, number: int, pid: int) -> None:
        self._exit_codes[pid] = asyncio.get_running_loop().create_future()  # an id may be used again
        if number in self._spawning:
            _settle(self._spawning[number], pid)
        else:
            # Whoever asked for it was cancelled meanwhile and will never look after it.
            self.signal(pid, signal.SIGKILL, group=True)

    def _lost(self, _ended: asyncio.Future[int]) -> None:
        _settle(
            self._ready, SandboxRefused("run its init", "it ended before it was ready", hint=_CREATE_HINT)
        )
        for spawned in self._spawning.values():
            _settle(spawned, SandboxEnded(self.init_pid))
        for exit_code in self._exit_codes.values():
            _settle(exit_code, _KILLED)


def _mount_namespace_of(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/mnt").readlink())


def _settle(future: asyncio.Future[int], outcome: int | Exception) -> None:
    """Give a future its outcome unless it has one, or its only waiter was cancelled."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
