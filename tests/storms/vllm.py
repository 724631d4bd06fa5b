"""A storm over three vLLM engines, two of which may be awake; who has to make room is dumped by CRIU each time.

vLLM signs nothing. So each model is asked alone first, and from then on every answer is held against what it is known to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace

from llmux_setup.images import VLLM_MODELS
from storms.client import Client, Manner, Record
from storms.judge import Kind
from storms.known import Known, read_form
from storms.leaving import nobody_is_left
from storms.storm import DEEP, EAGER, Storm, Weather

_TIMES = {"start": 1800, "sleep": 300, "request": 2400}
"""Seconds: an engine that starts in a minute takes ten where twenty other processes want the same two cores."""
_PATIENCE = 2500.0
_SHORT, _LONG = 16, 300
"""Tokens of an answer: those of a long one take long enough for a switch to come in between."""
_QUESTIONS = tuple(f"Where is lamp {number}?" for number in range(6))
_Part = Callable[["_Air"], Awaitable[None]]


@dataclass(frozen=True)
class _Air:
    """One part of the storm: who is asked by whom, and which of the models comes first in this round."""

    weather: Weather
    client: Client
    models: tuple[str, str, str]

    def ask(self, model: str, number: int, tokens: int = _SHORT) -> Coroutine[None, None, Record]:
        return self.client.ask(model, stream=number % 2 == 0, tokens=tokens)

    async def later(self, model: str) -> None:
        """Ask for a model once others are being answered."""
        await self.weather.pause(0.5)
        await self.ask(model, 0)


async def _alternation(air: _Air) -> None:
    """Ask each model in turn: who is asked next has been asleep for longest."""
    for number, model in enumerate(2 * air.models):
        await air.ask(model, number)


async def _burst(air: _Air) -> None:
    """Ask for all models at once while one of them is on its way to serve."""
    first, second, asleep = air.models
    await air.ask(first, 0)
    await air.ask(second, 1)
    burst = (
        air.ask(air.models[number % 3], number // 3, (_SHORT, _LONG)[number % 5 == 0]) for number in range(45)
    )
    await air.weather.at_once(air.ask(asleep, 0), *burst)


async def _streams(air: _Air) -> None:
    """Let long answers of both models awake be under way when the third is asked for."""
    first, second, asleep = air.models
    await air.weather.at_once(air.ask(first, 0), air.ask(second, 1))
    streams = (
        air.client.ask(model, stream=True, tokens=_LONG) for model in (first, second) for _ in range(6)
    )
    await air.weather.at_once(*streams, air.later(asleep))


async def _leaving(air: _Air) -> None:
    """Let clients leave while they wait for their model, with the first bytes, and in the middle of an answer."""
    awake, other, asleep = air.models
    await air.ask(awake, 0)
    await air.ask(other, 1)
    streams = (
        air.client.ask(awake, stream=True, tokens=_LONG, leave_at_byte=1 + 2000 * number)
        for number in range(8)
    )
    waiting = (
        air.client.ask(asleep, leave_after=air.weather.dice.uniform(0.1, 10), tokens=_LONG) for _ in range(8)
    )
    await air.weather.at_once(*streams, *waiting)
    await air.ask(asleep, 0)
    await nobody_is_left(air.weather)


async def _flood(air: _Air) -> None:
    """Ask a model that sleeps on disk very often at once."""
    model, *_ = air.models
    await air.ask(model, 0)
    status, answer = await air.client.control("sleep", {"model": model, "eviction": DEEP})
    assert status == 200, answer
    await air.weather.at_once(*(air.ask(model, number) for number in range(100)))


_PARTS: dict[str, _Part] = {
    "alternation": _alternation,
    "a burst during a switch": _burst,
    "streams during a switch": _streams,
    "clients that leave": _leaving,
    "a flood while asleep": _flood,
}


async def _turns(weather: Weather) -> None:
    """Each round all parts, another of the models being the first of them."""
    manner = Manner(
        question=lambda number: _QUESTIONS[number % len(_QUESTIONS)], reading=read_form, patience=_PATIENCE
    )
    known = await _learn(weather, manner)
    for number in range(weather.length):
        one, two, three = weather.models[number % 3 :] + weather.models[: number % 3]
        for name, part in _PARTS.items():
            client = weather.client.in_manner(replace(manner, reading=known.read, part=name))
            await part(_Air(weather, client, (one, two, three)))


async def _learn(weather: Weather, manner: Manner) -> Known:
    """Ask each model alone, one question after the other; then all together, streamed. Raises UnknowableError."""
    client = weather.client.in_manner(replace(manner, part="learning"))
    learnt: list[Record] = []
    questions = [(question, tokens) for question in _QUESTIONS for tokens in (_SHORT, _LONG)]
    for model in weather.models:
        for question, tokens in questions:
            learnt.append(await client.ask(model, question=question, tokens=tokens))

        async def stream(question: str, tokens: int, model: str = model) -> None:
            learnt.append(await client.ask(model, question=question, tokens=tokens, stream=True))

        await weather.at_once(*(stream(question, tokens) for question, tokens in questions))
    return Known.by((each.ask, each.reply.body) for each in learnt if each.verdict.kind is Kind.ANSWERED)


TURNS = Storm(
    "turns",
    "three vLLM engines take turns, two of them awake",
    _turns,
    1,
    2,
    models=3,
    awake=2,
    fields={**EAGER, "shutdown_timeout": 300},
    model_fields={"timeouts": _TIMES},
    fields_of=lambda name: {"model_path": tuple(VLLM_MODELS)[int(name[1:])]},
    engine="vllm",
    # Who was woken from a checkpoint is dumped anew all the same.
    checkpoint={"reuse": False},
    # That of the handshake between vLLM's processes.
    sockets_of_start=1,
    patience=_PATIENCE,
    farewell=330,
)
