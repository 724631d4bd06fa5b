"""A stand-in for NVIDIA's driver: for whoever wants processes with CUDA state where there is no GPU.

`cuda.h` says what the library is (the set-up compiles it of `cuda_*.c` and `files.c`), `process.py` a process that uses it, `StandIn` what a test holds in its hands.
"""

import subprocess  # noqa: TID251 - processes are what it is about
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from llmux_setup import stand_in

PROCESS = Path(__file__).with_name("process.py")
ENGINE = Path(__file__).with_name("engine")
"""For the PYTHONPATH of an engine: all of its processes then have CUDA state."""
CUDA_STATE = "LLMUX_STAND_IN_CUDA"


class StandIn:
    """The driver: its directory, and the processes that have been started with it."""

    def __init__(self, directory: Path, setenv) -> None:
        """`setenv` is the test's monkeypatch's: whatever is started from now on finds this driver."""
        stand_in.CACHE.mkdir(exist_ok=True)
        stand_in.build()
        self.directory = directory
        self._processes = ExitStack()
        setenv("LD_LIBRARY_PATH", str(stand_in.DRIVER))
        setenv(CUDA_STATE, str(directory))

    def start(self) -> int:
        """Start a process with CUDA state and return its id."""
        process = self._processes.enter_context(
            subprocess.Popen(
                [sys.executable, "-S", str(PROCESS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        self._processes.callback(process.kill)
        return int(process.stdout.readline())

    def close(self) -> None:
        """End them all."""
        self._processes.close()

    def state(self, pid: int) -> str:
        """Return the state of a process."""
        return self.directory.joinpath(f"{pid}.state").read_text()

    def tell(self, pid: int, name: str, text: str = "") -> Path:
        """Write what the driver is to do for a process: `busy`, `fail-lock`, `delay-restore`, ..."""
        path = self.directory / f"{pid}.{name}"
        path.write_text(text)
        return path

    def done(self) -> list[str]:
        """Return what has been done since it was last asked: the call, the process, the result."""
        log = self.directory / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return lines

    def counts(self, pid: int) -> bool:
        """Say whether the process goes on counting; that it does not shows in seconds."""
        return self._moves(pid, 5.0)

    def stands_still(self, pid: int) -> bool:
        """Say whether the process waits for its GPU, as far as a fifth of a second shows it."""
        return not self._moves(pid, 0.2)

    def _moves(self, pid: int, seconds: float) -> bool:
        before = self._count(pid)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.01)
            if self._count(pid) not in {before, ""}:
                return True
        return False

    def _count(self, pid: int) -> str:
        counter = self.directory / f"{pid}.count"
        return counter.read_text() if counter.exists() else ""
