"""The only place that starts programs, and the only rule for ending them: TERM, then KILL.

Interface:
    run(argv, timeout=...) -> Finished               a short program to its end, its output bounded
    Conversation.start(argv, on_line=...)            a long one, spoken to in lines
    term_then_kill(send_signal, ended, grace)        the rule, for whatever can be signalled and waited for

Nothing here makes a task that lasts: a process's end and its output call back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess  # noqa: TID251 - this is the one place
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from llmux.server import _open_files
from llmux.server._effect_errors import ProgramMissing, TookTooLong

log = logging.getLogger(__name__)

KILL_GRACE = 5.0
"""Seconds between TERM and KILL where the caller has no wish of its own."""

_OUTPUT_LIMIT = 1 << 20
_STDOUT, _STDERR = 1, 2


@dataclass(frozen=True)
class Finished:
    """A program that has ended: its exit code (a signal's number negated) and what it wrote, each cut at 1 MiB."""

    code: int
    stdout: bytes
    stderr: bytes


async def term_then_kill(
    send_signal: Callable[[signal.Signals], None], ended: asyncio.Future[int], grace: float
) -> int:
    """Ask for the end with TERM, insist with KILL after `grace` seconds; return the exit code."""
    send_signal(signal.SIGTERM)
    with suppress(TimeoutError):
        return await asyncio.wait_for(asyncio.shield(ended), grace)
    send_signal(signal.SIGKILL)
    return await asyncio.shield(ended)


async def run(
    argv: Sequence[str],
    *,
    timeout: float,  # noqa: ASYNC109 - the time-out ends the program, which asyncio.timeout alone would not
    env: Mapping[str, str] | None = None,
    output_limit: int = _OUTPUT_LIMIT,
    on_error_line: Callable[[bytes], None] | None = None,
) -> Finished:
    """Run a program with empty stdin to its end; `on_error_line` gets each whole line of its stderr as it comes, without its end.

    Raises ProgramMissing where it cannot be started and TookTooLong, having ended it and its process group, after
    `timeout` seconds. A cancelled caller leaves nothing running either.
    """
    output = {_STDOUT: bytearray(), _STDERR: bytearray()}

    lines = Lines(on_error_line) if on_error_line else None

    def keep(fd: int, data: bytes) -> None:
        output[fd] += data[: output_limit - len(output[fd])]
        if lines and fd == _STDERR:
            lines.feed(data)

    child = await _start(argv, keep, env=env)
    try:
        code = await asyncio.wait_for(asyncio.shield(child.ended), timeout)
    except TimeoutError:
        await term_then_kill(child.signal_group, child.ended, KILL_GRACE)
        raise TookTooLong(argv[0], timeout) from None
    except asyncio.CancelledError:
        child.signal_group(signal.SIGKILL)
        raise
    return Finished(code, bytes(output[_STDOUT]), bytes(output[_STDERR]))


class Lines:
    """Puts lines together out of what comes, and hands on each whole one without its end."""

    def __init__(self, on_line: Callable[[bytes], None]) -> None:
        self._on_line = on_line
        self._pending = b""

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            try:
                self._on_line(line)
            except Exception:  # the boundary of whoever wrote it: what comes after is heard
                log.exception("a line cannot be taken: %r", line)


class Conversation:
    """A running program that is told lines on stdin and tells lines on stdout; its stderr is llmux's own."""

    def __init__(self, child: _Child) -> None:
        self._child = child

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        on_line: Callable[[bytes], None],
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Conversation:
        """Start it in a session of its own, so that a terminal's Ctrl-C is llmux's alone to answer.

        `on_line` gets each whole line without its end; `pass_fds` are left open to it. Raises ProgramMissing.
        """
        lines = Lines(on_line)
        return cls(
            await _start(
                argv,
                lambda _fd, data: lines.feed(data),
                env=env,
                hears=True,
                keeps_stderr=True,
                pass_fds=pass_fds,
            )
        )

    @property
    def ended(self) -> asyncio.Future[int]:
        """Done, with the exit code, once the program has exited and all its output has been handed on."""
        return self._child.ended

    def tell(self, line: bytes) -> None:
        """Send one line. A program that has ended, or is being ended, does not hear it."""
        if not self._child.stdin.is_closing():
            self._child.stdin.write(line + b"\n")

    async def end(self, grace: float) -> int:
        """Close its stdin, which is its order to exit, then TERM and KILL, each after `grace` seconds."""
        self._child.stdin.close()
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(self.ended), grace)
        return await term_then_kill(self._child.signal_group, self.ended, grace)


class _Child:
    """One child process: hands its output on and knows its end."""

    def __init__(self, process: subprocess.Popen[bytes], on_data: Callable[[int, bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self.stdin: asyncio.WriteTransport
        self.on_data = on_data
        self._process = process
        self._outputs = {
            fd: pipe for fd, pipe in ((_STDOUT, process.stdout), (_STDERR, process.stderr)) if pipe
        }
        self._lasting = 1 + len(self._outputs)
        """How much has not come to its end: the process, and its outputs."""
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._exited)

    async def connect(self) -> None:
        """Begin to hear its output, and to speak to it where it hears. Not to be cancelled: uvloop would lose count of who closes a pipe."""
        for fd, pipe in self._outputs.items():
            await self._loop.connect_read_pipe(partial(_Output, self, fd), pipe)
        if self._process.stdin:
            self.stdin, _ = await self._loop.connect_write_pipe(asyncio.Protocol, self._process.stdin)

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the child and what it has started, unless all of it has ended."""
        _signal_group(self._process, number)

    def lasts_no_more(self) -> None:
        """Take note of an end: of the process, or of one of its outputs.

        It is reaped last: until then its id is no other's, and what it has started and has its output can be signalled.
        """
        self._lasting -= 1
        if not self._lasting:
            self.ended.set_result(self._process.wait())

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.lasts_no_more()


class _Output(asyncio.Protocol):
    """One output of a child."""

    def __init__(self, child: _Child, fd: int) -> None:
        self._child = child
        self._fd = fd

    def data_received(self, data: bytes) -> None:
        self._child.on_data(self._fd, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the base class names it
        self._child.lasts_no_more()


async def _start(  # noqa: PLR0913 - what a program is given
    argv: Sequence[str],
    on_data: Callable[[int, bytes], None],
    *,
    env: Mapping[str, str] | None,
    hears: bool = False,
    keeps_stderr: bool = False,
    pass_fds: Sequence[int] = (),
) -> _Child:
    """Start a program with an empty stdin unless it `hears`, and llmux's own stderr where it `keeps` that. Raises ProgramMissing.

    By `subprocess`, as asyncio's own loop does it: uvloop gives a program one end of a pair of sockets instead of a pipe, which
    CRIU does not dump without the other, and copies of its descriptors and of llmux's besides.
    """
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    try:
        process = subprocess.Popen(  # noqa: ASYNC220 - so does asyncio: it takes milliseconds
            argv,
            bufsize=0,
            stdin=pipe if hears else null,
            stdout=pipe,
            stderr=None if keeps_stderr else pipe,
            env=env,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except OSError as error:
        raise ProgramMissing(argv[0], error.strerror or str(error)) from error
    _open_files.give_back(process.pid)
    try:
        child = _Child(process, on_data)
    except OSError as error:  # there is no descriptor left for it, or a filter refuses that
        with process:
            _signal_group(process, signal.SIGKILL)
        raise ProgramMissing(argv[0], error.strerror or str(error)) from error
    try:
        await asyncio.shield(child.connect())
    except BaseException:
        child.signal_group(signal.SIGKILL)
        raise
    return child


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a process and what it has started, unless it has been reaped (its id may be another's then)."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
