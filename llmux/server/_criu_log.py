"""CRIU's log to the reason of a failure and what to do about it. Pure.

Interface: `diagnose(log) -> Diagnosis`, `version_of(text)`, `duration_of(log, name)`. What CRIU's messages mean is the library's to know (`explain_log`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from llmux.criu_images import explain_log

_VERSION = re.compile(r"Version: (?P<version>\d+(?:\.\d+)*)")
_LOGGED = re.compile(r"\(\d+\.\d+\) |llmux-criu-hook: ")
_LONGEST_SAID = 500


@dataclass(frozen=True)
class Diagnosis:
    """Why criu failed: the first error that explains it, or what else it said; all errors in order; a hint where the reason is known."""

    reason: str
    errors: tuple[str, ...]
    hint: str


def diagnose(log: str) -> Diagnosis:
    """Find the reason in the log of a criu that failed."""
    found = explain_log(line.encode() for line in log.splitlines())
    cause = found.cause
    if cause is not None and "said" in cause.match.values:  # llmux-criu-hook says what to do itself
        words = _joined(_text(cause.text).splitlines())
        return Diagnosis(words.removesuffix("."), tuple(_text(one.text) for one in found.others), "")
    known = () if cause is None else (cause,)
    errors = sorted((*known, *found.others), key=lambda one: one.line)
    first = cause or next(iter(errors), None)
    return Diagnosis(
        _text(first.text) if first else _said(log) or "it left no error in its log",
        tuple(_text(one.text) for one in errors),
        "" if cause is None else cause.mends,
    )


def _said(log: str) -> str:
    """Return what criu printed that is no line of its log: that it lacks a capability it prints only (pr_msg, check_caps of crtools.c)."""
    lines = (line.strip() for line in log.splitlines() if not _LOGGED.match(line))
    return _joined(line for line in lines if line and line.isprintable())[:_LONGEST_SAID]


def _joined(lines: Iterable[str]) -> str:
    return "; ".join(lines).replace(":; ", ": ")


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace").strip()


def version_of(text: str) -> tuple[int, ...]:
    """Return the version that `criu --version` prints, empty where there is none in it."""
    match = _VERSION.search(text)
    return tuple(map(int, match["version"].split("."))) if match else ()


def duration_of(log: str, name: str) -> float | None:
    """Return seconds: the duration that `--display-stats` printed under `name`."""
    match = re.search(rf"^{re.escape(name)}: (\d+) us$", log, re.MULTILINE)
    return int(match[1]) / 1e6 if match else None
