"""Storms in which something takes too long or there is too much of it: full queues, drains that end, engines that hang."""

from __future__ import annotations

from storms.judge import AGAIN
from storms.killing import DYING
from storms.storm import FORGIVING, SHALLOW, Storm, Weather


async def _overflow(weather: Weather) -> None:
    """Ask for both models far more often than may wait."""
    for number in range(weather.length):
        asks = (weather.client.ask(weather.models[each % 2], stream=each % 3 == 0) for each in range(80))
        await weather.at_once(*asks)
        await weather.client.answered(weather.models[number % 2])


async def _cut_off(weather: Weather) -> None:
    """Ask for another model while answers are under way that take longer than a drain may."""
    for number in range(weather.length):
        long, other = weather.models[number % 2], weather.models[(number + 1) % 2]
        await weather.client.ask(long)

        async def later(model: str = other) -> None:
            await weather.pause(0.3)
            await weather.client.ask(model)

        answers = (weather.client.ask(long, stream=each % 2 == 0, tokens=100 * each + 5) for each in range(4))
        await weather.at_once(*answers, later())


async def _hang(weather: Weather) -> None:
    """Let the worker stop, the API process hang, and answers stall; then the next request is to be answered."""
    (model,) = weather.models
    for number in range(weather.length):
        await weather.client.answered(model)
        kind, amount = (("stall", 3), ("hang_worker", 1), ("hang_api", 1))[number % 3]
        streams = (weather.client.ask(model, stream=True, tokens=60) for _ in range(3))
        await weather.at_once(weather.fault_soon(model, kind, amount), *streams)
        await weather.client.answered(model)


OVERFLOW = Storm(
    "overflow",
    "far more requests than may wait",
    _overflow,
    2,
    20,
    excused=("429",),
    model_fields={"queue": {"max_waiting": 12}},
)
CUT_OFF = Storm(
    "cut-off",
    "answers that take longer than a drain may",
    _cut_off,
    1,
    20,
    options=("--token-delay", "0.02"),
    eviction=SHALLOW,
    excused=("broken off", "503 drain_timeout", AGAIN),
    model_fields={"drain": {"seconds": 1, "then": "end"}},
)
HANGING = Storm(
    "hanging",
    "engines hang and answers stall",
    _hang,
    3,
    30,
    models=1,
    options=("--token-delay", "0.02"),
    excused=DYING,
    model_fields={
        "restart": FORGIVING,
        "timeouts": {"stall": 1, "health": 1, "request": 20},
    },
)
