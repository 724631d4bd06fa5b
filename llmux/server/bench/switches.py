"""Switches between models: what their client saw, beside what llmux tells of the same ones. Pure; times in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmux.server.bench.figures import Asked, Spread, messages, spread

KINDS = ("request_queued", "request_admitted", "request_finished", "sleep_done", "wake_done")
"""The events that tell of a switch."""


@dataclass(frozen=True)
class Told:
    """An event of the control API, as far as it matters here."""

    kind: str
    model: str
    seconds: float = 0.0
    request: str = ""


@dataclass(frozen=True)
class Moves:
    """What llmux says that a request waited for."""

    sleep: float | None = None
    """The longest sleep of another model; None where none was put to sleep."""
    wake: float | None = None


@dataclass(frozen=True)
class Switch:
    """One request that was to need a switch."""

    asked: Asked
    slept: float | None = None
    """What its client waited for the sleep before it, where the model was put to sleep by hand."""
    moves: Moves | None = None
    """None where llmux did not tell."""

    @property
    def found_awake(self) -> bool:
        """Say whether it did without a switch."""
        return not self.asked.problem and self.moves is not None and self.moves.wake is None

    @property
    def rest(self) -> float | None:
        """What of its wait is neither sleep nor wake: answers in flight, a least time awake, the scheduler's own."""
        if self.asked.queued is None or self.moves is None:
            return None
        return max(0.0, self.asked.queued - (self.moves.sleep or 0.0) - (self.moves.wake or 0.0))


@dataclass(frozen=True)
class SwitchFigures:
    """What came of the switches to one model."""

    requests: int
    errors: Mapping[str, int]
    messages: Mapping[str, str]
    switched: int
    """How many did need a wake."""
    wakes: Mapping[str, int]
    first_token: Spread | None
    """As the client saw it."""
    slept: Spread | None
    """As the client saw it, where it asked for the sleep."""
    queued: Spread | None
    sleep: Spread | None
    """As llmux tells it, as the next two."""
    wake: Spread | None
    rest: Spread | None


def attributed(models: Sequence[str], told: Iterable[Told]) -> tuple[Moves | None, ...]:
    """Return what llmux did for each of these requests, which were sent one after another; None for those that it has not told of.

    A request's moves are those between its arrival and its admission.
    """
    events = iter(told)
    return tuple(_moves(list(_until_finished(model, events))) for model in models)


def _until_finished(model: str, events: Iterator[Told]) -> Iterator[Told]:
    for each in events:
        yield each
        if each.kind == "request_finished" and each.model == model:
            return


def _moves(events: Sequence[Told]) -> Moves | None:
    """Return the moves for the request that is the last to be told of; None where that is not over."""
    if not events or events[-1].kind != "request_finished":
        return None
    model, request = events[-1].model, events[-1].request
    own = [index for index, each in enumerate(events) if each.request == request]
    waited = events[own[0] : own[1]] if len(own) > 1 else ()
    sleeps = [each.seconds for each in waited if each.kind == "sleep_done" and each.model != model]
    wakes = [each.seconds for each in waited if each.kind == "wake_done" and each.model == model]
    return Moves(max(sleeps, default=None), max(wakes, default=None))


def switch_figures(switches: Sequence[Switch]) -> SwitchFigures:
    """Return what came of the switches to one model."""
    good = [each for each in switches if not each.asked.problem]
    woken = [each for each in good if each.moves and each.moves.wake is not None]
    moves = [each.moves for each in woken if each.moves]
    return SwitchFigures(
        requests=len(switches),
        errors=dict(Counter(each.asked.problem for each in switches if each.asked.problem).most_common()),
        messages=messages(each.asked for each in switches),
        switched=len(woken),
        wakes=dict(Counter(each.asked.wake for each in good if each.asked.wake).most_common()),
        first_token=spread(each.asked.first_token for each in good),
        slept=spread(each.slept for each in good),
        queued=spread(each.asked.queued for each in good),
        sleep=spread(each.sleep for each in moves),
        wake=spread(each.wake for each in moves),
        rest=spread(each.rest for each in woken),
    )
