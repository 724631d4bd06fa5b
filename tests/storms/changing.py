"""Storms in which the configuration changes."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from dataclasses import replace
from http import HTTPStatus

from proof.bench import Model, Settings
from storms.storm import Storm, Weather

_KEPT = "m2"
_ADDED = "added"


async def _reload(weather: Weather) -> None:
    """Each round a model is changed, one is added and removed, and the file is wrong, all while models switch."""
    settings = weather.place.settings
    await weather.client.ask(_KEPT)
    engine = await _engine_of(weather, _KEPT)
    for number in range(weather.length):
        changed = _with_another_delay(settings, number)
        for wanted in (changed, _with_one_more(changed), settings):
            weather.place.reconfigure(wanted.document())
            await weather.at_once(*_asks(weather), _reloaded(weather, HTTPStatus.OK))
        weather.place.reconfigure({"models": {}})
        await weather.at_once(*_asks(weather), _reloaded(weather, HTTPStatus.BAD_REQUEST))
    assert await _engine_of(weather, _KEPT) == engine, "an engine that nothing is said of is another"


def _asks(weather: Weather) -> Iterator[Coroutine[None, None, object]]:
    for number in range(4):
        for model in (*weather.models, _ADDED):
            yield weather.client.ask(model, stream=number % 2 == 0, tokens=4 + 8 * number)


async def _reloaded(weather: Weather, status: HTTPStatus) -> None:
    """Have the configuration read anew in the midst of it, by both ways at once."""
    await weather.pause(weather.dice.uniform(0, 1))
    await weather.reload()
    found, answer = await weather.client.control("reload", {})
    assert found == status, answer


async def _engine_of(weather: Weather, model: str) -> object:
    return (await weather.client.states())[model]["engine"]


def _with_another_delay(settings: Settings, number: int) -> Settings:
    slower = {"extra_args": ["--allow-faults", "--token-delay", f"0.00{1 + number % 9}"]}
    models = (
        replace(model, fields={**model.fields, **slower}) if model.name == "m1" else model
        for model in settings.models
    )
    return replace(settings, models=tuple(models))


def _with_one_more(settings: Settings) -> Settings:
    return replace(settings, models=(*settings.models, Model(_ADDED, 8100, settings.models[0].fields)))


RELOAD = Storm(
    "reload",
    "models are changed, added and removed, and the file is wrong, while models switch",
    _reload,
    1,
    10,
    models=3,
    awake=2,
    fields_of=lambda name: {"pinned": name == _KEPT},
    excused=("404 model_not_found",),
)
