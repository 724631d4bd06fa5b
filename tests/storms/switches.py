"""Storms over models that take turns."""

from __future__ import annotations

import asyncio

from storms.storm import BRISK, SHALLOW, Storm, Weather


async def _alternate(weather: Weather) -> None:
    for number in range(weather.length):
        await weather.client.ask(weather.models[number % len(weather.models)], stream=number % 3 == 0)


async def _burst(weather: Weather) -> None:
    first, second = weather.models
    await weather.client.ask(first)
    for number in range(weather.length):
        switch = weather.client.ask(second)
        burst = (
            weather.client.ask(weather.models[each % 2], stream=each % 3 == 0, tokens=2 + each % 7)
            for each in range(30 + 10 * (number % 3))
        )
        await weather.at_once(switch, *burst)


async def _streams(weather: Weather) -> None:
    for number in range(weather.length):
        streaming, other = weather.models[number % 2], weather.models[(number + 1) % 2]
        await weather.client.ask(streaming)

        async def later(model: str = other) -> None:
            await asyncio.sleep(0.3)
            await weather.client.ask(model)

        streams = (weather.client.ask(streaming, stream=True, tokens=20 + 5 * each) for each in range(8))
        await weather.at_once(*streams, later())


async def _race(weather: Weather) -> None:
    """All models are asked for, put to sleep and woken at once."""
    for _ in range(weather.length):
        asks = (weather.client.ask(model, stream=weather.dice.random() < 0.5) for model in weather.models)
        sleeps = (weather.client.control("sleep", {"model": model}) for model in weather.models)
        wakes = (weather.client.control("wake", {"model": model}) for model in weather.models)
        again = (weather.client.ask(model) for model in reversed(weather.models))
        await weather.at_once(*asks, *sleeps, *wakes, *again)


async def _zipf(weather: Weather) -> None:
    """For `length` seconds requests come for many models, few of them often."""
    weights = [1 / (rank + 1) for rank in range(len(weather.models))]
    end = asyncio.get_running_loop().time() + weather.length
    async with asyncio.TaskGroup() as group:
        while asyncio.get_running_loop().time() < end:
            (model,) = weather.dice.choices(weather.models, weights)
            group.create_task(weather.client.ask(model, stream=weather.dice.random() < 0.3))
            await asyncio.sleep(weather.dice.expovariate(4))


ALTERNATION = Storm(
    "alternation", "two models are asked in turn, each time the other sleeps to disk", _alternate, 4, 100
)
BURST = Storm("burst", "a burst for both models while they switch", _burst, 2, 20)
STREAMING = Storm(
    "streaming",
    "long answers stream while another model is asked for",
    _streams,
    2,
    30,
    options=("--token-delay", "0.02"),
)
RACE = Storm("race", "all models asked for, put to sleep and woken at the same time", _race, 2, 20, models=3)
ZIPF = Storm(
    "zipf",
    "20 models, some asked for often and most seldom",
    _zipf,
    4,
    180,
    models=20,
    awake=3,
    eviction=SHALLOW,
    fields=BRISK,
)
