"""Putting models to sleep and waking them by hand."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Literal

from aiohttp import web
from pydantic import ValidationError

from llmux.server._adapters import model_of
from llmux.server._model import Eviction, Process, name_of
from llmux.server._web import DRIVER
from llmux.server.config import EvictionConfig
from llmux.server.control._answers import Slept, StateName, Woken
from llmux.server.control._form import Call, Form, answer, body_of, invalid
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


class WakeRequest(Form):
    """Which model is to serve."""

    model: str
    """Its name, or that of one of its adapters."""


async def sleep(request: web.Request) -> web.Response:
    """Put a model to sleep. Answers once it sleeps, with the checkpoint that was made."""
    asked = await body_of(request, SleepRequest)
    driver = request.app[DRIVER]
    name = model_of(driver.served, asked.model).name
    configured = driver.find(name).rules.eviction
    eviction = _merged(asked.eviction, configured) if asked.eviction else configured
    began = time.monotonic()
    model = await driver.sleep(name, eviction)
    replica = model.replicas[0]
    made = replica.stored if eviction.process is Process.CHECKPOINT else None
    return answer(
        Slept(
            model=model.name,
            state=StateName(name_of(replica.state)),
            eviction=eviction_told(eviction),
            seconds=round(time.monotonic() - began, 3),
            checkpoint=checkpoint_told(made),
        )
    )


async def wake(request: web.Request) -> web.Response:
    """Bring a model to serve. Answers once it does, with how it came to."""
    asked = await body_of(request, WakeRequest)
    began = time.monotonic()
    driver = request.app[DRIVER]
    model = await driver.wake(model_of(driver.served, asked.model).name)
    replica = foremost(model)
    return answer(
        Woken(
            model=model.name,
            state=StateName(name_of(replica.state)),
            seconds=round(time.monotonic() - began, 3),
            last_wake=wake_told(replica.last_wake),
            engine=engine_told(replica.life),
        )
    )


def _merged(override: EvictionOverride, configured: Eviction) -> Eviction:
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
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
CALLS = (
    Call("POST", "/control/sleep", sleep, {HTTPStatus.OK: Slept}, _REFUSALS, SleepRequest),
    Call("POST", "/control/wake", wake, {HTTPStatus.OK: Woken}, _REFUSALS, WakeRequest),
)
