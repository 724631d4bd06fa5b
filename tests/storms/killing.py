"""Storms in which an engine or llmux is killed in every state that a model can be in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from storms.judge import AGAIN
from storms.storm import DEEP, FORGIVING, SHALLOW, Storm, Weather

Blow = Callable[[Weather, str], Awaitable[object]]
Situation = Callable[[Weather, str, Blow], Awaitable[None]]


async def _after(weather: Weather, model: str, state: str, blow: Blow) -> None:
    """Strike as soon as a model is in a state; where that has passed before it was seen, strike anyway."""
    with suppress(TimeoutError):
        await weather.until(lambda states: states[model] == state, 3)
    await blow(weather, model)


async def _starting(weather: Weather, model: str, blow: Blow) -> None:
    await weather.client.control("sleep", {"model": model, "eviction": {"process": "stop"}})
    await weather.at_once(weather.client.ask(model), _after(weather, model, "starting", blow))


async def _running(weather: Weather, model: str, blow: Blow) -> None:
    await weather.client.answered(model)
    await blow(weather, model)


async def _answering(weather: Weather, model: str, blow: Blow) -> None:
    await weather.client.answered(model)

    async def soon() -> None:
        await weather.pause(0.2)
        await blow(weather, model)

    streams = (weather.client.ask(model, stream=each % 2 == 0, tokens=60) for each in range(6))
    await weather.at_once(*streams, soon())


async def _going_to_sleep(weather: Weather, model: str, blow: Blow) -> None:
    await weather.client.answered(model)
    await weather.at_once(
        weather.order("sleep", {"model": model, "eviction": DEEP}),
        _after(weather, model, "going_to_sleep", blow),
        weather.client.ask(model),
    )


async def _asleep(weather: Weather, model: str, blow: Blow) -> None:
    await weather.client.answered(model)
    await weather.client.control("sleep", {"model": model, "eviction": SHALLOW})
    await blow(weather, model)


async def _waking(weather: Weather, model: str, blow: Blow) -> None:
    await weather.client.answered(model)
    await weather.client.control("sleep", {"model": model, "eviction": DEEP})
    await weather.at_once(weather.client.ask(model), _after(weather, model, "waking", blow))


_SITUATIONS: tuple[Situation, ...] = (_starting, _waking, _going_to_sleep, _answering, _asleep, _running)


async def _kill_engines(weather: Weather) -> None:
    await _strike(weather, lambda here, model: here.kill_engine(model))


async def _kill_llmux(weather: Weather) -> None:
    await _strike_llmux(weather, Weather.kill_llmux)


async def _kill_llmux_twice(weather: Weather) -> None:
    """Kill the next llmux too, before it has found its way."""

    async def twice(here: Weather) -> None:
        await here.kill_llmux()
        await here.pause(here.dice.uniform(0.1, 1))
        await here.kill_llmux()

    await _strike_llmux(weather, twice)


async def _stop_llmux(weather: Weather) -> None:
    await _strike_llmux(weather, Weather.stop_llmux)


async def _strike_llmux(weather: Weather, end: Callable[[Weather], Awaitable[object]]) -> None:
    async def blow(here: Weather, _model: str) -> None:
        await end(here)
        await here.until_it_answers()

    await _strike(weather, blow)


async def _replicas(weather: Weather) -> None:
    """Kill one of two replicas while both answer."""
    (model,) = weather.models
    for number in range(weather.length):
        await weather.client.answered(model)
        asks = (weather.client.ask(model, stream=each % 4 == 0, tokens=100) for each in range(16))
        await weather.at_once(*asks, _kill_soon(weather, 8001 + number % 2))
        await weather.at_once(*(weather.client.ask(model) for _ in range(4)))


async def _kill_soon(weather: Weather, port: int) -> None:
    await weather.pause(0.4)
    await weather.kill_engine_at(port)


async def _strike(weather: Weather, blow: Blow) -> None:
    (model,) = weather.models
    for number in range(weather.length):
        await _SITUATIONS[number % len(_SITUATIONS)](weather, model, blow)
        await weather.client.answered(model)


async def _kill_trees(weather: Weather) -> None:
    await _strike(weather, lambda here, _model: here.kill_tree())


async def _disturb(weather: Weather) -> None:
    """Let each of the engine's own faults happen at its moment; requests after it are to be answered all the same."""
    (model,) = weather.models
    for number in range(weather.length):
        await weather.client.answered(model)
        match number % 4:
            case 0:
                await weather.fault(model, "exit_at_sleep")
                await weather.order("sleep", {"model": model, "eviction": SHALLOW})
            case 1:
                await weather.fault(model, "exit_at_wake")
                await weather.order("sleep", {"model": model, "eviction": SHALLOW})
            case 2:
                await weather.fault(model, "garbage_http", 3)
            case _:
                streams = (weather.client.ask(model, stream=each % 2 == 0, tokens=40) for each in range(4))
                await weather.at_once(*streams, weather.fault_soon(model, "crash_worker"))
        await weather.at_once(*(weather.client.ask(model, stream=each % 2 == 0) for each in range(4)))


DYING = ("502", "503", "broken off", AGAIN)
# Of engines that are killed together with their llmux: nobody is left who would know whose they were.
_SOCKETS = ("socket /tmp/",)
KILLED_ENGINE = Storm(
    "killed-engine",
    "an engine is killed in every state",
    _kill_engines,
    len(_SITUATIONS),
    len(_SITUATIONS) * 8,
    models=1,
    options=("--token-delay", "0.02"),
    excused=DYING,
    model_fields={"restart": FORGIVING},
)
KILLED_TREE = Storm(
    "killed-tree",
    "an engine, its worker and its sandbox are killed together in every state",
    _kill_trees,
    4,
    len(_SITUATIONS) * 8,
    models=1,
    options=("--token-delay", "0.02"),
    excused=DYING,
    model_fields={"restart": FORGIVING},
)
DISTURBED = Storm(
    "disturbed",
    "an engine exits at a sleep or a wake, answers garbage, loses its worker",
    _disturb,
    4,
    40,
    models=1,
    options=("--token-delay", "0.02"),
    excused=DYING,
    model_fields={"restart": FORGIVING},
)
KILLED_REPLICA = Storm(
    "killed-replica",
    "one of two engines of a model is killed while both answer",
    _replicas,
    3,
    30,
    models=1,
    awake=2,
    options=("--token-delay", "0.01"),
    excused=("broken off", AGAIN),
    model_fields={"restart": FORGIVING, "replicas": 2, "preload": True},
)
STOPPED_LLMUX = Storm(
    "stopped-llmux",
    "llmux is told to end in every state, and started again",
    _stop_llmux,
    2,
    len(_SITUATIONS) * 8,
    models=1,
    options=("--token-delay", "0.02"),
    excused=(*DYING, "unreachable"),
)
KILLED_LLMUX_TWICE = Storm(
    "killed-llmux-twice",
    "llmux is killed in every state, and the next one while it starts",
    _kill_llmux_twice,
    2,
    len(_SITUATIONS) * 8,
    models=1,
    options=("--token-delay", "0.02"),
    excused=(*DYING, "unreachable"),
    may_leave=_SOCKETS,
    model_fields={"restart": FORGIVING},
)
KILLED_LLMUX = Storm(
    "killed-llmux",
    "llmux is killed in every state, and started again",
    _kill_llmux,
    len(_SITUATIONS),
    len(_SITUATIONS) * 8,
    models=1,
    options=("--token-delay", "0.02"),
    excused=(*DYING, "unreachable"),
    may_leave=_SOCKETS,
    model_fields={"restart": FORGIVING},
)
