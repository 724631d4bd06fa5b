"""The success test with a GPU in both containers."""

from __future__ import annotations

import sys
import time

from gpu_check._children import ROOT, output
from gpu_check._results import Numbers, Round
from gpu_check._task import Task

_TIMEOUT = 3600.0


def success_test(task: Task) -> Numbers:
    """Set up what it needs, and run it with the tiny engine's weights on the GPU. Raises CaseFailed."""
    set_up = (sys.executable, str(ROOT / "docker/setup.py"), "run", "--engine", "tiny", "--")
    test = (
        str(ROOT / ".venv/bin/python"),
        str(ROOT / "docker/success_test.py"),
        "--gpu-bytes",
        str(task.size),
    )
    began = time.monotonic()
    output((*set_up, *test), _TIMEOUT)
    return Numbers(task.size, (Round(time.monotonic() - began, 0.0),))
