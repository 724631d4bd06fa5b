"""The only place that starts programs, and the only rule for ending them: TERM, then KILL.

Interface:
    run(argv, timeout=...) -> Finished               a short program to its end, its output bounded
    Conversation.start(argv, on_line=...)            a long one, spoken to in lines
    term_then_kill(send_signal, ended, grace)        the rule, for whatever can be signalled and waited for

Nothing here makes a task: asyncio's subprocess protocol calls back.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from llmux.server import _open_files
from llmux.server._effect_errors import ProgramMissing, TookTooLong

KILL_GRACE = 5.0
"""Seconds between TERM and KILL where the caller has no wish of its own."""

_OUTPUT_LIMIT = 1 << 20
_STDIN, _STDOUT, _STDERR = 0, 1, 2


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

    child = await _start(argv, keep, env=env, stdin=asyncio.subprocess.DEVNULL)
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
                stdin=asyncio.subprocess.PIPE,
                stderr=None,
                pass_fds=pass_fds,
            )
        )

    @property
    def ended(self) -> asyncio.Future[int]:
        """Done, with the exit code, once the program has exited and all its output has been handed on."""
        return self._child.ended

    def tell(self, line: bytes) -> None:
        """Send one line. A program that has ended, or is being ended, does not hear it."""
        pipe = self._child.pipe_to_stdin()
        if not pipe.is_closing():
            pipe.write(line + b"\n")

    async def end(self, grace: float) -> int:
        """Close its stdin, which is its order to exit, then TERM and KILL, each after `grace` seconds."""
        self._child.pipe_to_stdin().close()
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(self.ended), grace)
        return await term_then_kill(self._child.signal_group, self.ended, grace)


class _Child(asyncio.SubprocessProtocol):
    """One child process: hands its output on and knows its end."""

    def __init__(self, on_data: Callable[[int, bytes], None]) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._on_data = on_data
        self._transport: asyncio.SubprocessTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        _open_files.give_back(self._transport.get_pid())

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        self._on_data(fd, cast("bytes", data))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the base class names it
        """Come after the exit and after the end of both outputs."""
        code = self._transport.get_returncode()
        if not self.ended.done():
            self.ended.set_result(-signal.SIGKILL if code is None else code)
        self._transport.close()

    def pipe_to_stdin(self) -> asyncio.WriteTransport:
        return cast("asyncio.WriteTransport", self._transport.get_pipe_transport(_STDIN))

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the child and what it has started, unless it has been reaped (its id may be another's then)."""
        if self._transport.get_returncode() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._transport.get_pid(), number)


async def _start(  # noqa: PLR0913 - what a program is given
    argv: Sequence[str],
    on_data: Callable[[int, bytes], None],
    *,
    env: Mapping[str, str] | None,
    stdin: int,
    stderr: int | None = asyncio.subprocess.PIPE,
    pass_fds: Sequence[int] = (),
) -> _Child:
    try:
        _, child = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Child(on_data),
            *argv,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=env,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except OSError as error:
        raise ProgramMissing(argv[0], error.strerror or str(error)) from error
    return child
