"""Models one by one, and the requests that wait for them or that they answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http import HTTPStatus

from aiohttp import web

from llmux.server._names import target_of
from llmux.server._queue import Errand, Ticket
from llmux.server._record import Model
from llmux.server._web import ADAPTERS, DRIVER
from llmux.server.control._answers import Cancelled, Models, NamedModel, Requests, RequestTold
from llmux.server.control._form import Call, Query, answer, query_of
from llmux.server.control._told import model_told, moment
from llmux.server.control._told_gpus import Shares, seen, shares_of


class OfModel(Query):
    """Which model it is about."""

    model: str | None = None
    """Only this one."""


async def list_models(request: web.Request) -> web.Response:
    """List every model as it is now, those that depart included."""
    driver = request.app[DRIVER]
    shares = shares_of(await seen(request.app))
    return answer(Models(models=tuple(_named(request, each, shares) for each in driver.models.values())))


async def show_model(request: web.Request) -> web.Response:
    """Show one model as it is now, by its name or by that of one of its adapters."""
    model = target_of(request.app[DRIVER].served, request.match_info["model"]).model
    return answer(_named(request, model, shares_of(await seen(request.app))))


async def list_requests(request: web.Request) -> web.Response:
    """List the requests that wait for an engine or are being answered, the oldest first."""
    driver, name = request.app[DRIVER], query_of(request, OfModel).model
    models = driver.models.values() if name is None else (target_of(driver.served, name).model,)
    found = sorted((each for model in models for each in _requests(model)), key=lambda each: -each.seconds)
    return answer(Requests(requests=tuple(found)))


async def cancel_request(request: web.Request) -> web.Response:
    """End a request. Its client gets an error that says so: a 503, or in a stream that has begun an error event and no proper end."""
    name = request.match_info["id"]
    return answer(Cancelled(id=name, model=request.app[DRIVER].cancel(name).name))


def _named(request: web.Request, model: Model, shares: Shares) -> NamedModel:
    return NamedModel(**dict(model_told(model, request.app[ADAPTERS], shares)), name=model.name)


def _requests(model: Model) -> Iterator[RequestTold]:
    for ticket in model.queue:
        if ticket.caller.errand is Errand.REQUEST:
            yield _request(model, ticket, None)
    for replica in model.replicas:
        for ticket in replica.flights:
            if ticket.caller.errand is Errand.REQUEST:
                yield _request(model, ticket, replica.name)


def _request(model: Model, ticket: Ticket, replica: str | None) -> RequestTold:
    arrived = ticket.place.arrived
    return RequestTold(
        id=ticket.caller.id,
        request_id=ticket.caller.request_id,
        model=model.name,
        method=ticket.caller.method,
        path=ticket.caller.path,
        state="waiting" if replica is None else "in_flight",
        since=moment(arrived),
        seconds=round(max(0.0, time.monotonic() - arrived), 3),
        replica=replica,
    )


_OK, _UNKNOWN = HTTPStatus.OK, (HTTPStatus.NOT_FOUND,)
CALLS = (
    Call("GET", "/control/models", list_models, {_OK: Models}),
    Call("GET", "/control/models/{model}", show_model, {_OK: NamedModel}, _UNKNOWN),
    Call("GET", "/control/requests", list_requests, {_OK: Requests}, _UNKNOWN, query=OfModel),
    Call("DELETE", "/control/requests/{id}", cancel_request, {_OK: Cancelled}, _UNKNOWN),
)
