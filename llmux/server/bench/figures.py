"""What came of each request to what is told of all of them. Pure; times in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from llmux.server.simulate.outcome import quantile


class Ended(StrEnum):
    """Why the measuring ended."""

    DONE = "done"
    TIME = "time"  # it had lasted as long as it may
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Asked:
    """One request that is over."""

    model: str
    began: float
    """Since the measuring began."""
    seconds: float
    """Until the answer had come whole, or had failed."""
    problem: str = ""
    """The error's code; empty where there was an answer."""
    message: str = ""
    """What the error says, where it says anything."""
    first_token: float | None = None
    """Until the first of the answer's text came; None where it does not come in pieces."""
    tokens: int | None = None
    """As the engine counts them, or the pieces that came; None where neither is known."""
    queued: float | None = None
    """What llmux says that it waited for an engine."""
    wake: str = ""
    """What llmux says that it waited for: warm, restored or cold."""


@dataclass(frozen=True)
class Spread:
    """How a time, or a rate, is spread over many requests; quantiles by nearest rank."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    most: float


@dataclass(frozen=True)
class Figures:
    """What came of one model's requests."""

    requests: int
    answers: int
    errors: Mapping[str, int]
    """By code, the most frequent first."""
    messages: Mapping[str, str]
    """What the first error of each code said."""
    seconds: float
    """From the beginning of the first to the end of the last."""
    answers_per_second: float
    first_token: Spread | None
    answer: Spread | None
    """Until an answer had come whole."""
    queued: Spread | None
    wakes: Mapping[str, int]
    tokens: int | None
    tokens_per_second: float | None
    """Of all answers together, over all the time."""
    pace: Spread | None
    """Tokens a second of one answer, from its first token on."""


def spread(values: Iterable[float | None]) -> Spread | None:
    """Return how values are spread, those that are none left out; None where nothing is left."""
    ordered = sorted(each for each in values if each is not None)
    if not ordered:
        return None
    p50, p95, p99 = (quantile(ordered, share) for share in (0.50, 0.95, 0.99))
    return Spread(len(ordered), sum(ordered) / len(ordered), p50, p95, p99, ordered[-1])


def figures(asked: Sequence[Asked]) -> Figures:
    """Return what came of these requests."""
    answers = [each for each in asked if not each.problem]
    errors = Counter(each.problem for each in asked if each.problem)
    ends = [each.began + each.seconds for each in asked]
    seconds = max(ends, default=0.0) - min((each.began for each in asked), default=0.0)
    tokens = _sum(each.tokens for each in answers)
    return Figures(
        requests=len(asked),
        answers=len(answers),
        errors=dict(errors.most_common()),
        messages=messages(asked),
        seconds=seconds,
        answers_per_second=_rate(len(answers), seconds),
        first_token=spread(each.first_token for each in answers),
        answer=spread(each.seconds for each in answers),
        queued=spread(each.queued for each in answers),
        wakes=dict(Counter(each.wake for each in answers if each.wake).most_common()),
        tokens=tokens,
        tokens_per_second=None if tokens is None else _rate(tokens, seconds),
        pace=spread(map(_pace, answers)),
    )


def messages(asked: Iterable[Asked]) -> dict[str, str]:
    """Return what the first error of each code said, where it said anything."""
    said: dict[str, str] = {}
    for each in asked:
        if each.problem and each.message:
            said.setdefault(each.problem, each.message)
    return said


def _pace(asked: Asked) -> float | None:
    """Return how fast tokens came after the first; None where there was but one, or all came together."""
    if asked.first_token is None or asked.tokens is None:
        return None
    seconds = asked.seconds - asked.first_token
    return (asked.tokens - 1) / seconds if asked.tokens > 1 and seconds > 0 else None


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [each for each in counts if each is not None]
    return sum(known) if known else None


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
