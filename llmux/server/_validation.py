"""Whether a model answers after a sleep as it did before: asked, put to sleep in each way, woken, asked again.

    trials(client, model, evictions, tell)     yields what each sleep came to, through a running llmux
    judge(before, after), fault(found, usual)  how two rounds of answers differ, and whether that is too much; pure

A model that answers the same questions differently without any sleep in between (kernels that add in another order) is asked twice at
first: what differs then is its noise, and is forgiven.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from llmux.server._client import Client, Declined, Json
from llmux.server._client_answers import Completion, Slept, Status, Woken, read
from llmux.server._model import Eviction, Process

_QUESTIONS = (
    "The lighthouse keeper climbed the stairs and",
    "1, 1, 2, 3, 5, 8, 13,",
    "def fibonacci(n):",
)
_TOKENS = 32
_KIND_BY_PROCESS = {
    Process.KEEP_RUNNING: "warm",
    Process.CUDA_SUSPEND: "warm",
    Process.CHECKPOINT: "restored",
    Process.STOP: "cold_start",
}
"""How a model wakes if the sleep was what it was asked to be."""


@dataclass(frozen=True)
class Answer:
    """What a model said, token by token where its engine tells them, else as one text."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Round:
    """The answers to all questions, and the seconds to the end of the first."""

    answers: tuple[Answer, ...]
    first: float


@dataclass(frozen=True)
class Comparison:
    """How two rounds differ."""

    tokens: int
    """How many tokens of the first there are."""
    differing: int
    """How many of them are others, or missing, in the second."""
    drift: float | None
    """The largest difference of a log-probability; None where the engine tells none."""


@dataclass(frozen=True)
class Usual:
    """What a model says while it is awake, how much that differs from one time to the next, and what is forgiven beside that."""

    answers: Round
    noise: Comparison
    tolerance: float = 0.0


@dataclass(frozen=True)
class Trial:
    """What a sleep and a wake came to."""

    eviction: Eviction
    problem: str = ""
    """Why it is no success; empty where the answers are the same."""
    slept: Slept | None = None
    woken: Woken | None = None
    first_answer: float | None = None
    comparison: Comparison | None = None
    given_back: tuple[tuple[str, int], ...] = ()
    """What the node's account says that the sleep gave back, by kind of memory."""


def judge(before: Round, after: Round) -> Comparison:
    """Compare two rounds of answers to the same questions."""
    tokens = differing = 0
    drifts: list[float] = []
    for one, other in zip(before.answers, after.answers, strict=True):
        tokens += len(one.tokens)
        differing += sum(first != second for first, second in zip_longest(one.tokens, other.tokens))
        drifts += [abs(first - second) for first, second in zip(one.logprobs, other.logprobs, strict=False)]
    return Comparison(tokens, differing, max(drifts, default=None))


def fault(found: Comparison, usual: Usual) -> str:
    """Return what is worse than usual, or an empty text."""
    if found.differing > usual.noise.differing:
        return f"{found.differing} of {found.tokens} tokens differ"
    if found.drift is not None and found.drift > max(usual.noise.drift or 0.0, usual.tolerance):
        return f"a log-probability differs by {found.drift:.2g}"
    return ""


async def trials(
    client: Client,
    model: str,
    evictions: Sequence[Eviction],
    tolerance: float,
    tell: Callable[[str], None],
) -> AsyncIterator[Trial]:
    """Yield what each eviction comes to. Leaves the model awake. Raises NotReached, and Declined where it does not serve at all."""
    tell("waking")
    await client.post("/control/wake", {"model": model})
    tell("asking, twice")
    before = await _ask(client, model)
    usual = Usual(before, judge(before, await _ask(client, model)), tolerance)
    for eviction in evictions:
        tell(f"{eviction.weights.value}, {eviction.process.value}")
        yield await _trial(client, model, eviction, usual)


async def _trial(client: Client, model: str, eviction: Eviction, usual: Usual) -> Trial:
    said: Json = {"weights": eviction.weights.value, "process": eviction.process.value}
    try:
        awake = await _held(client)
        slept = read(Slept, await client.post("/control/sleep", {"model": model, "eviction": said}))
    except Declined as error:
        return Trial(eviction, str(error))
    asleep = await _held(client)
    given_back = tuple((what, had - asleep.get(what, 0)) for what, had in awake.items() if "memory" in what)
    try:
        woken = read(Woken, await client.post("/control/wake", {"model": model}))
        after = await _ask(client, model)
    except Declined as error:
        return Trial(eviction, str(error), slept, given_back=given_back)
    found = judge(usual.answers, after)
    problem = _unexpected(eviction, woken) or fault(found, usual)
    return Trial(eviction, problem, slept, woken, after.first, found, given_back)


def _unexpected(eviction: Eviction, woken: Woken) -> str:
    wake = woken.last_wake
    if wake is None or wake.kind == _KIND_BY_PROCESS[eviction.process]:
        return ""
    return f"it woke by a {wake.kind}" + (f": {wake.reason}" if wake.reason else "")


async def _held(client: Client) -> dict[str, int]:
    return read(Status, await client.get("/control/status")).node.held


async def _ask(client: Client, model: str) -> Round:
    answers, first = [], 0.0
    for question in _QUESTIONS:
        began = time.monotonic()
        answers.append(await _answer(client, model, question))
        first = first or time.monotonic() - began
    return Round(tuple(answers), first)


async def _answer(client: Client, model: str, question: str) -> Answer:
    """Ask for log-probabilities; an engine that has none is asked without. Greedy, so that the answer is the model's alone."""
    body: Json = {"model": model, "prompt": question, "max_tokens": _TOKENS, "temperature": 0, "seed": 0}
    try:
        told = await client.post("/v1/completions", body | {"logprobs": 1})
    except Declined as error:
        if error.status not in {400, 422}:
            raise
        told = await client.post("/v1/completions", body)
    return _said(told)


def _said(told: Json) -> Answer:
    (choice,) = read(Completion, told).choices
    if choice.logprobs and choice.logprobs.tokens:
        numbers = choice.logprobs.token_logprobs
        return Answer(choice.logprobs.tokens, tuple(each for each in numbers if each is not None))
    return Answer((choice.text,))
