"""Runs all tests in two processes, one for each core: those before Docker, and those that are marked `apart`, with units and properties.

Tests before Docker look at what a machine has once: what lies in /run, /dev/shm and the directory for temporary files. So the others
have all three for themselves, in a mount namespace of their own. Their output follows at the end, whole. Ends as the worse of the two.

The order of tests is shuffled, but alike in each run, so that a commit does not pass once and fail the next time: SEED has another.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess  # noqa: TID251 - no part of llmux
import sys
import tempfile
from pathlib import Path

PYTEST = (sys.executable, "-m", "pytest", f"--randomly-seed={os.environ.get('SEED', '1')}")
BEFORE_DOCKER = (*PYTEST, "tests/integration", "-m", "not apart")
APART = (*PYTEST, "tests/unit", "tests/property", "tests/integration", "-m", "apart or not integration")
NAMESPACE = (
    *("unshare", "--mount", "--propagation=private", "sh", "-ec"),
    """
    mkdir "$0/run"
    mount --bind /run "$0/run"
    mount -t tmpfs none /run
    mount -t tmpfs none /dev/shm
    for each in "$0"/run/llmux-docker-*; do if [ -e "$each" ]; then ln -s "$each" /run/; fi; done
    TMPDIR="$0" exec "$@"
    """,
)


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = Path(tempfile.mkdtemp(prefix="apart-"))
    directory.chmod(0o755)  # some tests are another user for a while
    output = directory / "output"
    apart = None
    print("More tests run beside these, and their output follows at the end.", flush=True)  # noqa: T201
    try:
        with output.open("wb") as taken:
            apart = subprocess.Popen((*NAMESPACE, str(directory), *APART), stdout=taken, stderr=taken)
        code = subprocess.run(BEFORE_DOCKER, check=False).returncode
        apart.wait()
        sys.stdout.write(output.read_text(errors="replace"))
        return code or apart.returncode
    finally:
        if apart and apart.poll() is None:
            apart.send_signal(signal.SIGINT)
            apart.wait()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
