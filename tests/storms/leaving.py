"""Storms of clients that come all at once, and of clients that leave."""

from __future__ import annotations

from storms.judge import Json
from storms.storm import DEEP, Storm, Weather


async def _abandon(weather: Weather) -> None:
    """Clients leave while they wait for their model, within the answer's first bytes, and in its middle."""
    first, second = weather.models
    for _ in range(weather.length):
        await weather.client.ask(first)
        streams = (
            weather.client.ask(first, stream=True, tokens=200, leave_at_byte=1 + 400 * each)
            for each in range(8)
        )
        waiting = (weather.client.ask(second, leave_after=weather.dice.uniform(0.05, 1)) for _ in range(8))
        await weather.at_once(*streams, *waiting)
        await weather.client.ask(second, stream=True)
    await nobody_is_left(weather)


async def nobody_is_left(weather: Weather) -> None:
    """Raise TimeoutError unless llmux soon counts no request any more."""
    counts: dict[str, Json] = {}
    for _ in range(100):
        counts = {name: model for name, model in (await weather.client.states()).items() if _busy(model)}
        if not counts:
            return
        await weather.pause(0.1)
    raise TimeoutError(f"requests that nobody waits for are still counted: {counts}")


def _busy(model: Json) -> bool:
    return any(model.get(field) for field in ("in_flight", "held", "waiting"))


async def _flood(weather: Weather) -> None:
    """Each round a model that sleeps on disk is asked by very many at once."""
    for number in range(weather.length):
        model = weather.models[number % len(weather.models)]
        await weather.client.ask(model)
        await weather.client.control("sleep", {"model": model, "eviction": DEEP})
        await weather.at_once(*(weather.client.ask(model, stream=each % 2 == 0) for each in range(150)))


ABANDONED = Storm(
    "abandoned",
    "clients leave while they wait and while they are answered",
    _abandon,
    2,
    20,
    options=("--token-delay", "0.01"),
)
FLOOD = Storm("flood", "150 requests at once for a model that sleeps on disk", _flood, 2, 20)
