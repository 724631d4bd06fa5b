"""The only place that starts programs, and the only rule for ending them: TERM, then KILL.

Interface:
    run(argv, timeout=...) -> Finished               a short program to its end, its output bounded
    Conversation.start(argv, on_line=...)            a long one, spoken to in lines
    term_then_kill(send_signal, ended, grace)        the rule, for whatever can be signalled and waited for

Nothing here makes a task: asyncio's protocols call back.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import cast

from llmux.server import _open_files
from llmux.server._effect_errors import ProgramMissing, TookTooLong

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
            self._on_line(line)


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


class _Child(asyncio.SubprocessProtocol):
    """One child process: hands its output on and knows its end."""

    def __init__(self, on_data: Callable[[int, bytes], None]) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.on_data = on_data
        self._transport: asyncio.SubprocessTransport
        self.stdin: asyncio.WriteTransport
        self._lasting = 1
        """What has not come to its end: the process, and the pipes of its output."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        _open_files.give_back(self._transport.get_pid())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the base class names it
        """Come after the exit."""
        self._transport.close()
        self.lasts_no_more()

    async def pipe_from(self, fd: int, starting: ExitStack) -> int:
        """Return the end of a pipe for the process to write its output `fd` to, which is closed here after `starting` it."""
        ours, its = os.pipe()
        starting.callback(os.close, its)
        pipe = os.fdopen(ours, "rb", buffering=0)
        await asyncio.get_running_loop().connect_read_pipe(lambda: _Output(self, fd), pipe)
        self._lasting += 1
        return its

    async def pipe_to_stdin(self, starting: ExitStack) -> int:
        """Return the end of a pipe for the process to read its input from, which is closed here after `starting` it."""
        its, ours = os.pipe()
        starting.callback(os.close, its)
        pipe = os.fdopen(ours, "wb", buffering=0)
        self.stdin, _ = await asyncio.get_running_loop().connect_write_pipe(asyncio.Protocol, pipe)
        starting.push(self._not_started)
        return its

    def _not_started(self, kind: type[BaseException] | None, *_error: object) -> None:
        if kind:
            self.stdin.close()

    def lasts_no_more(self) -> None:
        """Take note of an end: of the process, or of one of its outputs."""
        self._lasting -= 1
        if not self._lasting and not self.ended.done():
            code = self._transport.get_returncode()
            self.ended.set_result(-signal.SIGKILL if code is None else code)

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the child and what it has started, unless it has been reaped (its id may be another's then)."""
        if self._transport.get_returncode() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._transport.get_pid(), number)


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

    Its pipes are made here: a loop may give it one end of a pair of sockets instead, and CRIU dumps no engine that has
    that without the other.
    """
    child = _Child(on_data)
    with ExitStack() as starting:
        try:
            await asyncio.get_running_loop().subprocess_exec(
                lambda: child,
                *argv,
                stdin=await child.pipe_to_stdin(starting) if hears else asyncio.subprocess.DEVNULL,
                stdout=await child.pipe_from(_STDOUT, starting),
                stderr=None if keeps_stderr else await child.pipe_from(_STDERR, starting),
                env=None if env is None else dict(env),
                start_new_session=True,
                pass_fds=pass_fds,
            )
        except OSError as error:
            raise ProgramMissing(argv[0], error.strerror or str(error)) from error
    return child
