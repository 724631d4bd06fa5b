"""Other processes: short ones whose words are wanted, and those that stay, each in a session of its own with a log."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess  # noqa: TID251 - the check's one wrapper
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).with_name("programs")
LLMUX_CUDA_CHECKPOINT = (sys.executable, "-m", "llmux.server.cuda")
_TERM_TO_KILL = 10.0
_LOG_LINES = 25
_PR_SET_CHILD_SUBREAPER = 36


class CaseFailed(Exception):
    """What should have been was not. `log` is what the processes wrote at last."""

    def __init__(self, what: str, log: str = "") -> None:
        super().__init__(what)
        self.log = log


def environment(**more: str) -> Mapping[str, str]:
    """Return what children are started with: this checkout's llmux first on their path."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **more}


def output(argv: Sequence[str], timeout: float = 60.0, **more: str) -> str:
    """Return what a program says. Raises CaseFailed where it is not there, fails or does not end in time; `more` is environment."""
    try:
        done = subprocess.run(
            argv,
            env=environment(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CaseFailed(f"{_called(argv)} did not end within {timeout:.0f} s") from error
    except OSError as error:
        raise CaseFailed(f"{argv[0]}: {error.strerror}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise CaseFailed(
            f"{_called(argv)} ended with {done.returncode}: {said[-600:] or 'it said nothing'}", said
        )
    return done.stdout.strip()


def succeeds(argv: Sequence[str], timeout: float = 60.0) -> str:
    """Return why a program does not end with 0; nothing where it does."""
    try:
        output(argv, timeout)
    except CaseFailed as error:
        return str(error)
    return ""


def _called(argv: Sequence[str]) -> str:
    return " ".join(Path(word).name if word == argv[0] else word for word in argv)


@dataclass(frozen=True)
class Child:
    """A process that stays, the root of a session."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def last_words(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-_LOG_LINES:])

    def fail(self, what: str) -> CaseFailed:
        """Return an error with what it has written."""
        return CaseFailed(what, self.last_words())

    def wait_for_end(self, seconds: float) -> None:
        """Wait until it is gone, as a dump leaves it; also what a restore has made of it. Raises CaseFailed."""
        end = time.monotonic() + seconds
        while self._lives():
            if time.monotonic() > end:
                raise self.fail("it was dumped, and goes on")
            time.sleep(0.02)

    def _lives(self) -> bool:
        if self.process.poll() is None:
            return True
        try:
            return os.waitpid(self.pid, os.WNOHANG) == (0, 0)
        except ChildProcessError:
            return False

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
        """Wait for something that it is to do. Raises CaseFailed where it ends before, or does not come to it."""
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None:
                raise self.fail(f"it ended with {self.process.returncode} before {what}")
            if time.monotonic() > end:
                raise self.fail(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.05)


def adopt_orphans() -> None:
    """Become the parent of what a restore leaves behind (man 2 prctl): who else may not wait for it, and its id would stay taken."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextmanager
def child(argv: Sequence[str], log: Path, grace: float = _TERM_TO_KILL) -> Iterator[Child]:
    """Run a process until the block ends, and its whole session with it. Raises CaseFailed where it cannot be started."""
    with log.open("ab") as sink:
        try:
            process = subprocess.Popen(
                argv,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        except OSError as error:
            raise CaseFailed(f"{argv[0]}: {error.strerror}") from error
    with process:
        try:
            yield Child(process, log)
        finally:
            _end(process, grace)


def _end(process: subprocess.Popen[bytes], grace: float) -> None:
    """End it; one that has left its GPU for host memory answers SIGTERM to nobody, so SIGKILL follows, for its session too."""
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        pass
    finally:
        kill_session(process.pid)


def kill_session(leader: int) -> None:
    """Kill what is left of a session that was started here."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def workplace() -> Iterator[Path]:
    """Give a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="llmux-gpu-check-", ignore_cleanup_errors=True) as name:
        yield Path(name)
