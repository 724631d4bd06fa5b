"""Processor time until the library, and the hook at each stage, are ready to work: a process tree waits for that.

    make bench

prints the least and the median of several processes. Python's own start is in each number, and in the first line alone. The exit code is 1 where
`import llmux.criu_images` takes 0.3 s or more.
"""

from __future__ import annotations

import os
import statistics
import subprocess  # noqa: TID251 - a Python of its own for each measurement
import sys
import tempfile

RUNS = 15
MOST_SECONDS = 0.3
IMPORT = "import llmux.criu_images"
PROGRAMS = {
    "Python itself": "pass",
    IMPORT: IMPORT,
    "hook, a stage that is not ours": "import llmux.criu_images._hook",
    "hook, pre-restore": "import llmux.criu_images._rebuild, llmux.criu_images._policy_file",
    "hook, post-dump": "import llmux.criu_images._capture, llmux.criu_images._policy_file",
}


def measure(program: str) -> float:
    """Return the processor time of one Python, in seconds."""
    before = os.times()
    subprocess.run([sys.executable, "-c", program], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> int:
    """Measure in turns, so that what else runs on the machine hits all alike; all is compiled before, as an installed package is."""
    measured: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="llmux-imports-") as directory:
        os.environ["PYTHONPYCACHEPREFIX"] = directory
        for program in PROGRAMS.values():
            measure(program)
        for _ in range(RUNS):
            for name, program in PROGRAMS.items():
                measured[name].append(measure(program))
    for name, seconds in measured.items():
        print(f"{name:32} least {min(seconds):5.2f} s, median {statistics.median(seconds):5.2f} s")  # noqa: T201
    return int(statistics.median(measured[IMPORT]) >= MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
