"""What many answers have: times, and why something did not work."""

from __future__ import annotations

from datetime import UTC, datetime

from llmux.server.control._answers import ProblemTold
from llmux.server.errors import Problem


def iso(seconds: float) -> str:
    """Return a time in seconds since the epoch as text."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def problem_told(problem: Problem | None) -> ProblemTold | None:
    """Return why something did not work, where it did not."""
    return (
        None
        if problem is None
        else ProblemTold(code=problem.code, message=problem.message, hint=problem.hint)
    )
