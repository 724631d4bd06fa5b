"""What came of a case, and the verdict on all of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

from gpu_check._plan import SUSPENDS, Case

PASSED, FAILED, NO_GPU = 0, 1, 5
"""Exit codes."""


class Outcome(StrEnum):
    """How a case ended."""

    PASSED = "passed"
    FAILED = "FAILED"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Round:
    """One suspension and its end, in seconds; `started` is what starting a program that does nothing takes, and is in both others."""

    out: float
    back: float
    started: float = 0.0


@dataclass(frozen=True)
class Numbers:
    """What was measured: bytes on the GPU, each round, what NVML saw freed of them at the least, bytes a second of copies."""

    size: int = 0
    rounds: tuple[Round, ...] = ()
    freed: int | None = None
    to_gpu: float = 0.0
    to_host: float = 0.0

    @property
    def out(self) -> float:
        """Return the median seconds that a suspension takes, the start of programs not counted."""
        return max(0.0, median(each.out - each.started for each in self.rounds)) if self.rounds else 0.0

    @property
    def back(self) -> float:
        return max(0.0, median(each.back - each.started for each in self.rounds)) if self.rounds else 0.0

    @property
    def started(self) -> float:
        return median(each.started for each in self.rounds) if self.rounds else 0.0


@dataclass(frozen=True)
class Result:
    """A case and what came of it; `said` is why it failed or was not run, or what else is to be known."""

    case: Case
    outcome: Outcome
    said: str = ""
    numbers: Numbers = field(default_factory=Numbers)
    log: str = ""
    """The last lines of what the processes of a failed case wrote."""


def verdict(results: Sequence[Result]) -> tuple[int, str]:
    """Return the exit code for a machine with a GPU, and the verdict in words."""
    failed = [result.case.value for result in results if result.outcome is Outcome.FAILED]
    passed = [result for result in results if result.outcome is Outcome.PASSED]
    left_out = sum(result.outcome is Outcome.NOT_RUN for result in results)
    if failed:
        return FAILED, f"FAILED: {', '.join(failed)}"
    if not any(result.case in SUSPENDS for result in passed):
        return FAILED, "FAILED: nothing of what is to be proved could be run"
    return PASSED, f"passed: {len(passed)} of {len(results)}; not run: {left_out}"
