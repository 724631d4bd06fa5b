"""Runs all tests in two processes, one for each core: those before Docker, and those that are marked `apart`, with units and properties.

Tests before Docker look at what a machine has once: what lies in /run, /dev/shm and the directory for temporary files. So the others
have all three for themselves, in a mount namespace of their own. Their output follows at the end, whole. Ends as the worse of the two.

The order of tests is shuffled, but alike in each run, so that a commit does not pass once and fail the next time: SEED has another.
A few tests that fail, as one of thousands with real processes may on a busy machine, run once more by themselves. Where they pass then
the run passes, and its last lines name them as unsteady: each is a fault to be found, in the test or in what it tests.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess  # noqa: TID251 - no part of llmux
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FEW = 3
"""So many tests of a part may fail and run once more."""
TESTS_FAILED = 1
"""How pytest ends where tests have failed, and nothing else has."""

PYTEST = (sys.executable, "-m", "pytest", f"--randomly-seed={os.environ.get('SEED', '1')}")
BEFORE_DOCKER = ("tests/integration", "-m", "not apart")
APART = ("tests/unit", "tests/property", "tests/integration", "-m", "apart or not integration")
NAMESPACE = (
    *("unshare", "--mount", "--propagation=private", "sh", "-ec"),
    """
    mkdir -p "$0/run"
    mount --bind /run "$0/run"
    mount -t tmpfs none /run
    mount -t tmpfs none /dev/shm
    for each in "$0"/run/llmux-docker-*; do if [ -e "$each" ]; then ln -s "$each" /run/; fi; done
    TMPDIR="$0" exec "$@"
    """,
)


@dataclass(frozen=True)
class Part:
    """Tests that run in one process."""

    tests: tuple[str, ...]
    cache: Path
    """Where pytest keeps which of them have failed."""
    within: tuple[str, ...] = ()
    """What is to run it."""

    def command(self, which: str) -> tuple[str, ...]:
        """Return what runs those that pytest chooses by this option."""
        return (*self.within, *PYTEST, *self.tests, "-o", f"cache_dir={self.cache}", which)

    def unsteady(self, code: int) -> frozenset[str] | None:
        """Return those that had failed and passed when run once more; None where it has not passed in the end."""
        if code != TESTS_FAILED:
            return None if code else frozenset()
        failed = frozenset(json.loads((self.cache / "v/cache/lastfailed").read_bytes()))
        if len(failed) > FEW:
            return None
        say("Once more, by themselves:", *sorted(failed))
        return None if subprocess.run(self.command("--last-failed"), check=False).returncode else failed


def say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = Path(tempfile.mkdtemp(prefix="apart-"))
    directory.chmod(0o755)  # some tests are another user for a while
    caches = Path(tempfile.mkdtemp(prefix="caches-"))
    before_docker = Part(BEFORE_DOCKER, caches / "before-docker")
    apart = Part(APART, caches / "apart", (*NAMESPACE, str(directory)))
    output = directory / "output"
    other = None
    say("More tests run beside these, and their output follows at the end.")
    try:
        with output.open("wb") as taken:
            other = subprocess.Popen(apart.command("--cache-clear"), stdout=taken, stderr=taken)
        code = subprocess.run(before_docker.command("--cache-clear"), check=False).returncode
        other.wait()
        say(output.read_text(errors="replace"))
        found = before_docker.unsteady(code), apart.unsteady(other.returncode)
    finally:
        if other and other.poll() is None:
            other.send_signal(signal.SIGINT)
            other.wait()
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(caches, ignore_errors=True)
    if None in found:
        return 1
    if unsteady := sorted(name for each in found for name in each or ()):
        say(
            f"Passed, and {len(unsteady)} only when run once more:",
            *(f"UNSTEADY {each}" for each in unsteady),
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
