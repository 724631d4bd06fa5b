"""How many files llmux may have open: as many as it is allowed to; its children get the limit that it was given itself.

A service's soft limit is low for the sake of programs that cannot do with a high one (they use select(2), or close every number
up to it), and its hard limit is high for those that can, as systemd.exec(5) explains it (LimitNOFILE=).
"""

from __future__ import annotations

import logging
import resource
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_MOST = Path("/proc/sys/fs/nr_open")
_given: tuple[int, int] | None = None
"""The soft and the hard limit before the soft one was raised."""


def raise_limit() -> None:
    """Raise this process's soft limit to its hard one, or to what the machine allows at all, which may be less."""
    global _given  # noqa: PLW0603 - the process has one limit, too
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    most = _at_most(hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, OSError) as error:
        log.warning("the limit of open files stays at %d (ulimit -n): %s", soft, error)
    else:
        _given = min(soft, most), most


def _at_most(hard: int) -> int:
    """Return the hard limit that can be set: none above fs.nr_open can, not even one that is there already (setrlimit(2))."""
    try:
        most = int(_MOST.read_text())
    except (OSError, ValueError):
        return hard
    return most if hard == resource.RLIM_INFINITY else min(hard, most)


def given() -> tuple[int, int] | None:
    """Return the limits before the soft one was raised, for a child that sets its own; None where it was not raised."""
    return _given


def give_back(pid: int) -> None:
    """Have a child that was just started, and all that it starts later, go by the limit that llmux was given.

    Nothing in Python sets it between fork and exec that is safe where there are threads. So what the child starts at once may still
    have llmux's limit; a sandbox's init, which forks at once, is told its limit (`given`).
    """
    if _given is not None:
        with suppress(ProcessLookupError, PermissionError):  # it has ended, or has become another user
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _given)
