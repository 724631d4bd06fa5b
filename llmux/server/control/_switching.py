"""Putting models to sleep and waking them by hand."""

from __future__ import annotations

import time
from functools import partial
from http import HTTPStatus
from typing import Literal

from aiohttp import web
from pydantic import ValidationError

from llmux.server._driver import Driver
from llmux.server._model import Asleep, Draining, Eviction, Process, Running, State, name_of
from llmux.server._names import target_of
from llmux.server._queue import Errand
from llmux.server._web import DRIVER
from llmux.server.config import EvictionConfig
from llmux.server.control._answers import Slept, StateName, Switched, Woken
from llmux.server.control._form import Answer, Call, Form, Handler, Media, body_of, invalid
from llmux.server.control._jobs import Kind
from llmux.server.control._operations import HEADERS, Operation, WaitForWork, perform
from llmux.server.control._told import checkpoint_told, engine_told, eviction_told, foremost, wake_told


class EvictionOverride(Form):
    """What to do otherwise than configured; a part that is not given stays as it is."""

    weights: Literal["retain", "offload", "discard"] | None = None
    process: Literal["keep_running", "checkpoint", "stop", "cuda_suspend"] | None = None


class SleepRequest(Form):
    """Which model is to sleep."""

    model: str
    """Its name, or that of one of its adapters."""
    eviction: EvictionOverride | None = None
    """How. Where nothing is said: as configured, or as it sleeps already, if that is no shallower."""


class WakeRequest(Form):
    """Which model is to serve."""

    model: str
    """Its name, or that of one of its adapters."""


async def sleep(request: web.Request) -> web.Response:
    """Put a model to sleep. Answers once it sleeps, with the checkpoint that was made. One that sleeps so already sleeps on."""
    asked = await body_of(request, SleepRequest)
    driver = request.app[DRIVER]
    name = target_of(driver.served, asked.model).model.name
    eviction = merged(asked.eviction, driver.find(name).rules.eviction) if asked.eviction else None
    return await perform(request, Kind.SLEEP, name, asked, partial(_sleep, driver, name, eviction))


async def wake(request: web.Request) -> web.Response:
    """Bring a model to serve. Answers once it does, with how it came to."""
    asked = await body_of(request, WakeRequest)
    driver = request.app[DRIVER]
    name = target_of(driver.served, asked.model).model.name
    return await perform(request, Kind.WAKE, name, asked, partial(_wake, driver, name))


async def switch(request: web.Request) -> web.Response:
    """Bring a model to serve at once. Whoever is in its way sleeps, unless pinned, once its requests in flight are answered."""
    asked = await body_of(request, WakeRequest)
    driver = request.app[DRIVER]
    name = target_of(driver.served, asked.model).model.name
    return await perform(request, Kind.SWITCH, name, asked, partial(_switch, driver, name))


async def _sleep(driver: Driver, name: str, eviction: Eviction | None) -> Slept:
    began, before = time.monotonic(), _states(driver, name)
    model = await driver.sleep(name, eviction)
    replica = model.replicas[0]
    state = replica.state
    slept = state.eviction if isinstance(state, Asleep) else eviction or model.rules.eviction
    made = replica.stored if slept.process is Process.CHECKPOINT else None
    return Slept(
        model=model.name,
        state=StateName(name_of(state)),
        already=before == _states(driver, name),
        eviction=eviction_told(slept),
        seconds=round(time.monotonic() - began, 3),
        checkpoint=checkpoint_told(made),
    )


async def _wake(driver: Driver, name: str, errand: Errand = Errand.WAKE) -> Woken:
    began, before = time.monotonic(), _states(driver, name)
    model = await driver.wake(name, errand)
    replica = foremost(model)
    return Woken(
        model=model.name,
        state=StateName(name_of(replica.state)),
        already=any(isinstance(state, Running) for state in before),
        seconds=round(time.monotonic() - began, 3),
        last_wake=wake_told(replica.last_wake),
        engine=engine_told(replica.life),
    )


def _states(driver: Driver, name: str) -> tuple[State, ...]:
    return tuple(replica.state for replica in driver.find(name).replicas)


async def _switch(driver: Driver, name: str) -> Switched:
    before = _serving(driver)
    woken = await _wake(driver, name, Errand.SWITCH)
    return Switched(**dict(woken), put_to_sleep=tuple(sorted(before - _serving(driver))))


def _serving(driver: Driver) -> set[str]:
    states = ((replica.model, replica.state) for replica in driver.replicas)
    return {model for model, state in states if isinstance(state, Running | Draining)}


def merged(override: EvictionOverride, configured: Eviction) -> Eviction:
    """Return the configured eviction with the parts that are given; a stopped engine keeps no weights."""
    process = override.process or configured.process.value
    weights = override.weights or ("discard" if process == "stop" else configured.weights.value)
    try:
        return EvictionConfig(weights=weights, process=process).eviction()
    except ValidationError as error:
        raise invalid(error, EvictionConfig, "eviction") from error


_REFUSALS = (
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


def _call(path: str, handle: Handler, done: type[Answer], body: type[Form]) -> Call:
    answers: dict[HTTPStatus, type[Answer] | Media] = {HTTPStatus.OK: done, HTTPStatus.ACCEPTED: Operation}
    return Call("POST", path, handle, answers, _REFUSALS, body, WaitForWork, HEADERS)


CALLS = (
    _call("/control/sleep", sleep, Slept, SleepRequest),
    _call("/control/wake", wake, Woken, WakeRequest),
    _call("/control/switch", switch, Switched, WakeRequest),
)
