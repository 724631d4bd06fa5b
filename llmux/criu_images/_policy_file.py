"""Where the standing policy comes from: a file, because CRIU and the engines that run it pass no options on to an action script."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from llmux.criu_images._policy import DEFAULT, Policy, Verb
from llmux.criu_images._policy_parse import parse_policy
from llmux.criu_images.errors import PolicyUnreadable

POLICY_VARIABLE = "LLMUX_CRIU_POLICY"
"""Names a policy file; empty for none."""
POLICY_FILE = Path("/etc/llmux/criu-policy")
"""Read where the variable is not set and the file is there."""
_MOST_BYTES = 1 << 20


def standing_policy() -> Policy:
    """Return the rules of the file that `LLMUX_CRIU_POLICY` names, or of /etc/llmux/criu-policy; raises PolicyInvalid, PolicyUnreadable."""
    named = os.environ.get(POLICY_VARIABLE)
    if named is None:
        return read_policy(POLICY_FILE) if os.path.lexists(POLICY_FILE) else DEFAULT
    return read_policy(Path(named)) if named else DEFAULT


def chosen_policy(rules: Iterable[str], verbs: frozenset[Verb]) -> Policy:
    """Return the caller's own rules, which are asked first, and then the standing ones; raises as `standing_policy`."""
    return parse_policy(rules, "--policy", verbs) + standing_policy()


def read_policy(path: Path) -> Policy:
    """Read a policy file, which only root or this user may be able to change: it decides what root restores.

    Raises PolicyInvalid, PolicyUnreadable.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
            _check(path, os.fstat(fd))
            text = file.read(_MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = f"Mend it, or set {POLICY_VARIABLE} to another file, or to nothing for none"
        raise PolicyUnreadable(os.fsencode(path), why, hint=hint) from error
    return parse_policy(text.splitlines(), str(path))


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise PolicyUnreadable(os.fsencode(path), "it is no regular file", hint="Give a text file of rules")
    if status.st_uid not in {0, os.geteuid()} or status.st_mode & (stat.S_IWOTH | stat.S_IWGRP):
        raise PolicyUnreadable(
            os.fsencode(path),
            "another user may write to it",
            hint="Run `chown root` and `chmod go-w` on it, if its rules are yours",
        )
