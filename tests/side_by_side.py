"""Runs all tests in two processes, one for each core: those of units and properties, and those of integration.

Integration tests look at what a machine has once: what lies in /run, /dev/shm and the directory for temporary files. So the others
have all three for themselves, in a mount namespace of their own. Their output follows at the end, whole. Ends as the worse of the two.
"""

from __future__ import annotations

import shutil
import signal
import subprocess  # noqa: TID251 - no part of llmux
import sys
import tempfile
from pathlib import Path

PYTEST = (sys.executable, "-m", "pytest")
UNITS = (*PYTEST, "tests/unit", "tests/property")
INTEGRATION = (*PYTEST, "tests/integration")
ALONE = (
    *("unshare", "--mount", "--propagation=private", "sh", "-c"),
    'mount -t tmpfs none /run && mount -t tmpfs none /dev/shm && TMPDIR="$0" exec "$@"',
)


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = Path(tempfile.mkdtemp(prefix="units-"))
    output = directory / "output"
    units = None
    print("Unit and property tests run beside these, and their output follows at the end.", flush=True)  # noqa: T201
    try:
        with output.open("wb") as taken:
            units = subprocess.Popen((*ALONE, str(directory), *UNITS), stdout=taken, stderr=taken)
        code = subprocess.run(INTEGRATION, check=False).returncode
        units.wait()
        sys.stdout.write(output.read_text(errors="replace"))
        return code or units.returncode
    finally:
        if units and units.poll() is None:
            units.send_signal(signal.SIGINT)
            units.wait()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
