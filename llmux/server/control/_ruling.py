"""What somebody rules by hand: who decides, which models stay awake, how deep they sleep, and that no new requests come in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Literal

from aiohttp import web

from llmux.server._depth import DEPTH
from llmux.server._driver import Driver
from llmux.server._happenings import Entry, RequestFinished
from llmux.server._model import Eviction, Process
from llmux.server._names import target_of
from llmux.server._queue import Errand
from llmux.server._record import Model
from llmux.server._web import DRIVER, RELOADER, error_response
from llmux.server.config import EvictionConfig, LadderConfig, ModelConfig
from llmux.server.control._answers import Drained, DrainOrder, EvictionOf, ModeTold, Pinned
from llmux.server.control._form import Call, Form, Query, answer, body_of, query_of
from llmux.server.control._jobs import Kind
from llmux.server.control._operations import HEADERS, Operation, WaitForWork, perform
from llmux.server.control._switching import EvictionOverride, merged
from llmux.server.control._told import eviction_told
from llmux.server.errors import ServerError, UnknownModel


class ModelRequest(Form):
    """Which model it is about."""

    model: str
    """Its name, or that of one of its adapters."""


class DrainRequest(Form):
    """Which models are to let no new request in."""

    model: str | None = None
    """The name of one, or that of one of its adapters; without it all."""


class ModeRequest(Form):
    """Who is to decide."""

    mode: Literal["auto", "manual"]


class EvictionRequest(Form):
    """How deep a model is to sleep."""

    model: str
    """Its name, or that of one of its adapters."""
    eviction: EvictionOverride


class WhichModel(Query):
    """Which model it is about."""

    model: str


async def show_mode(request: web.Request) -> web.Response:
    """Say who decides which model serves: the policy, or somebody by hand."""
    return answer(_mode(request.app[DRIVER]))


async def set_mode(request: web.Request) -> web.Response:
    """Say who decides. In manual mode requests for models that do not serve are refused with 503, until these are woken by hand."""
    asked = await body_of(request, ModeRequest)
    request.app[DRIVER].set_mode(manual=asked.mode == "manual")
    return answer(_mode(request.app[DRIVER]))


async def drain(request: web.Request) -> web.Response:
    """Refuse new requests with 503, for one model or all. Answers once those that had come are answered; it lasts until undrain."""
    asked = await body_of(request, DrainRequest)
    driver = request.app[DRIVER]
    name = target_of(driver.served, asked.model).model.name if asked.model is not None else None
    return await perform(request, Kind.DRAIN, name, asked, partial(_drain, driver, name))


async def undrain(request: web.Request) -> web.Response:
    """Let new requests in again, for one model or all."""
    asked = await body_of(request, DrainRequest)
    driver = request.app[DRIVER]
    name = target_of(driver.served, asked.model).model.name if asked.model is not None else None
    _order_drain(driver, name, draining=False)
    return answer(DrainOrder(model=name, draining=False))


async def pin(request: web.Request) -> web.Response:
    """Have a model woken, and stay awake whatever others need, until unpinned or reloaded."""
    return await _pin(request, pinned=True)


async def unpin(request: web.Request) -> web.Response:
    """Let a model sleep for others again, until pinned or reloaded."""
    return await _pin(request, pinned=False)


async def show_eviction(request: web.Request) -> web.Response:
    """Say how deep a model sleeps unless told otherwise."""
    driver = request.app[DRIVER]
    model = target_of(driver.served, query_of(request, WhichModel).model).model
    return answer(_eviction(model))


async def set_eviction(request: web.Request) -> web.Response:
    """Say how deep a model is to sleep, until reloaded. A part that is not given stays as it is."""
    asked = await body_of(request, EvictionRequest)
    driver = request.app[DRIVER]
    model = target_of(driver.served, asked.model).model
    eviction = merged(asked.eviction, model.rules.eviction)
    try:
        await request.app[RELOADER].adjust(model.name, partial(_sleeping, eviction))
    except UnknownModel:
        raise
    except ServerError as error:  # what cannot be here is no fault of llmux
        return error_response(error, HTTPStatus.BAD_REQUEST)
    return answer(_eviction(model))


async def _pin(request: web.Request, *, pinned: bool) -> web.Response:
    asked = await body_of(request, ModelRequest)
    driver = request.app[DRIVER]
    model = target_of(driver.served, asked.model).model
    model.rules = replace(model.rules, pinned=pinned)
    model.at_rest_by_hand = model.at_rest_by_hand and not pinned
    driver.changed()
    return answer(Pinned(model=model.name, pinned=pinned))


def _sleeping(eviction: Eviction, model: ModelConfig) -> ModelConfig:
    """Return the model as one that sleeps so deep, with what of its ladder and its further tries still goes deeper."""
    depth = DEPTH[eviction.process]
    said = EvictionConfig(
        weights=eviction.weights.value,
        process=eviction.process.value,
        escalate=tuple(each for each in model.eviction.escalate if DEPTH[Process(each)] > depth),
    )
    ladder = LadderConfig(
        deepen_after=model.ladder.deepen_after if depth < DEPTH[Process.CHECKPOINT] else None,
        stop_after=model.ladder.stop_after if depth < DEPTH[Process.STOP] else None,
    )
    return model.model_copy(update={"eviction": said, "ladder": ladder})


async def _drain(driver: Driver, name: str | None) -> Drained:
    began, moved = time.monotonic(), asyncio.Event()
    _order_drain(driver, name, draining=True)
    with driver.bus.subscribed(partial(_tell_of_ends, moved)):
        while any(map(_has_requests, _models(driver, name))):
            moved.clear()
            await moved.wait()
    return Drained(model=name, draining=True, seconds=round(time.monotonic() - began, 3))


def _tell_of_ends(moved: asyncio.Event, entry: Entry) -> None:
    if isinstance(entry.happening, RequestFinished):
        moved.set()


def _order_drain(driver: Driver, name: str | None, *, draining: bool) -> None:
    if name is None:
        driver.orders.draining = draining
    else:
        driver.find(name).draining = draining


def _models(driver: Driver, name: str | None) -> Iterable[Model]:
    return driver.models.values() if name is None else filter(None, (driver.models.get(name),))


def _has_requests(model: Model) -> bool:
    flying = (ticket for replica in model.replicas for ticket in replica.flights)
    return any(ticket.caller.errand is Errand.REQUEST for ticket in (*model.queue, *flying))


def _mode(driver: Driver) -> ModeTold:
    return ModeTold(mode="manual" if driver.orders.manual else "auto")


def _eviction(model: Model) -> EvictionOf:
    return EvictionOf(model=model.name, eviction=eviction_told(model.rules.eviction))


_OK, _UNKNOWN = HTTPStatus.OK, HTTPStatus.NOT_FOUND
_REFUSALS = (
    _UNKNOWN,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_DRAIN = Call(
    "POST",
    "/control/drain",
    drain,
    {_OK: Drained, HTTPStatus.ACCEPTED: Operation},
    _REFUSALS,
    DrainRequest,
    WaitForWork,
    HEADERS,
)
CALLS = (
    Call("GET", "/control/mode", show_mode, {_OK: ModeTold}),
    Call("PUT", "/control/mode", set_mode, {_OK: ModeTold}, body=ModeRequest),
    _DRAIN,
    Call("POST", "/control/undrain", undrain, {_OK: DrainOrder}, (_UNKNOWN,), DrainRequest),
    Call("POST", "/control/pin", pin, {_OK: Pinned}, (_UNKNOWN,), ModelRequest),
    Call("POST", "/control/unpin", unpin, {_OK: Pinned}, (_UNKNOWN,), ModelRequest),
    Call("GET", "/control/eviction", show_eviction, {_OK: EvictionOf}, (_UNKNOWN,), query=WhichModel),
)
ADJUSTING = (Call("PUT", "/control/eviction", set_eviction, {_OK: EvictionOf}, (_UNKNOWN,), EvictionRequest),)
"""What needs a configuration to change."""
