"""The set-up's only way to run other programs: each long one is timed, logged, shows progress, and fails with what to do."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import signal
import subprocess  # noqa: TID251 - this is the set-up's one wrapper
import textwrap
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TextIO

from .paths import LOG, ROOT

# A line of a long step's output is shown this often, in seconds.
_PROGRESS_EVERY = 5.0
_TAIL_LINES = 25
_SHOWN_COLUMNS = 110


@dataclass
class SetupError(Exception):
    """A step that cannot be done: what failed, what was seen (may be empty), and what to do about it."""

    what: str
    seen: str = ""
    hint: str = ""

    def __str__(self) -> str:
        parts = [self.what, self.seen, f"What to do: {self.hint}" if self.hint else ""]
        return "\n".join(part for part in parts if part)


def say(text: str) -> None:
    print(text, flush=True)


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Print what begins, and how long it took when it ends well."""
    say(f"==> {title}")
    begin = time.monotonic()
    yield
    say(f"    done in {time.monotonic() - begin:.1f} s")


def skip(title: str) -> None:
    """Say that a step finds its work done."""
    say(f"==> {title}: there already")


@contextlib.contextmanager
def exclusively(lock: Path) -> Iterator[None]:
    """Hold off every other set-up of this checkout that takes the same lock."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("==> waiting for another set-up of this checkout")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment with `extra` on top."""
    return {**os.environ, **(extra or {})}


def run(
    *argv: str | Path, env: Mapping[str, str] | None = None, timeout: float | None = None, hint: str = ""
) -> None:
    """Run a long command in the project's root, its output in a log, a line of it on the screen now and then.

    SetupError, with `hint`, when it is missing, fails, or prints nothing for the first `timeout` seconds.
    """
    words = [str(word) for word in argv]
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"$ {shlex.join(words)}\n")
        code, tail = _follow(words, environment(env), log, timeout)
    if code != 0:
        what = f"`{shlex.join(words)}` ended with {code} (its whole output is in {LOG})"
        raise SetupError(what, "".join(tail).rstrip(), hint)


def _follow(
    words: list[str], env: Mapping[str, str], log: TextIO, timeout: float | None
) -> tuple[int, deque[str]]:
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    with (
        _missing_program(words[0]),
        subprocess.Popen(
            words,
            env=env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as child,
    ):
        watchdog = threading.Timer(timeout or threading.TIMEOUT_MAX, child.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            for line in _with_progress(child.stdout or ()):
                watchdog.cancel()
                log.write(line)
                tail.append(line)
        except BaseException:
            child.terminate()
            raise
        finally:
            watchdog.cancel()
    return child.returncode, tail


def _with_progress(lines: Iterable[str]) -> Iterator[str]:
    """Pass lines on and show one every few seconds."""
    begin = shown = time.monotonic()
    for line in lines:
        if line.strip() and time.monotonic() - shown > _PROGRESS_EVERY:
            shown = time.monotonic()
            say(f"    {shown - begin:4.0f} s  {_shortened(line)}")
        yield line


def _shortened(line: str) -> str:
    """Return the words of a line that fit, with an ellipsis for the others; of a longer word its beginning."""
    fit = textwrap.shorten(line, _SHOWN_COLUMNS, break_on_hyphens=False, placeholder=" …")
    return fit if fit != "…" else f"{line.strip()[: _SHOWN_COLUMNS - 1]}…"


def output(*argv: str | Path, env: Mapping[str, str] | None = None, timeout: float = 60.0) -> str:
    """Return what a short command prints, without the last line's end; SetupError when it fails."""
    words = [str(word) for word in argv]
    with _missing_program(words[0]):
        try:
            done = subprocess.run(
                words,
                env=environment(env),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise SetupError(
                f"`{shlex.join(words)}` ended with {error.returncode}", error.stderr.rstrip()
            ) from error
        except subprocess.TimeoutExpired as error:
            raise SetupError(f"`{shlex.join(words)}` said nothing for {timeout:.0f} s") from error
    return done.stdout.rstrip("\n")


def succeeds(*argv: str | Path, env: Mapping[str, str] | None = None, timeout: float = 60.0) -> bool:
    """Tell whether a short command is there and ends with 0."""
    try:
        output(*argv, env=env, timeout=timeout)
    except SetupError:
        return False
    return True


def hand_over(argv: list[str], env: Mapping[str, str]) -> int:
    """Run a command on this terminal and return its exit code (128 + signal), leaving Ctrl-C to it."""
    with _missing_program(argv[0]), subprocess.Popen(argv, env=env, cwd=ROOT) as child:
        previous = {
            number: signal.signal(number, _passed_on(child)) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            code = child.wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _passed_on(child: subprocess.Popen[bytes]) -> Callable[[int, FrameType | None], None]:
    def handler(number: int, _frame: FrameType | None) -> None:
        # A terminal's Ctrl-C reached the child already.
        if number != signal.SIGINT:
            child.send_signal(number)

    return handler


def start_daemon(argv: list[str], log: Path) -> int:
    """Start a program in a session of its own, its output in `log`, and return its process id."""
    with log.open("ab") as sink, _missing_program(argv[0]):
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        ).pid


@contextlib.contextmanager
def _missing_program(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SetupError(f"{name} is not installed") from error
