"""The front, of OpenAI's, Anthropic's and vLLM's own APIs: finds the model of a request, and has it answered by an engine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus

from aiohttp import web

from llmux.server import (
    _api_errors,
    _apis,
    _errands,
    _names,
    _realtime,
    _request_log,
    _routing,
    _trace_context,
)
from llmux.server._errands import Addressee, Call, Errand
from llmux.server._gate import ask_nothing_yet, caller_of, owner_of
from llmux.server._homes import Homes
from llmux.server._journey import begin, journey_of
from llmux.server._queue import Place
from llmux.server._record import Model
from llmux.server._relay import Relay, Unanswered
from llmux.server._web import ADAPTERS, DRIVER, HOMES, PROBLEM, STARTED
from llmux.server.access.policy import Caller
from llmux.server.errors import ModelUnavailable, RequestInvalid, UnknownModel

log = logging.getLogger(__name__)

_PARSED_AT_ONCE = 1 << 20
"""Bytes; parsing a longer body would keep other answers waiting for milliseconds."""
_MOST_ASKED = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/messages", "/v1/responses")
"""A path that is named as it is, is found at once."""
_TRIES = 3
"""How many engines that fail, or are put to sleep before they have begun to answer, a request may meet."""


def routes() -> list[web.RouteDef]:
    """Return everything that is passed on to engines, and the list of models."""
    return [
        web.get("/v1/models", list_models, expect_handler=ask_nothing_yet),
        web.get("/v1/models/{name:.+}", show_model, expect_handler=ask_nothing_yet),
        *(
            web.route("*", path, forward, expect_handler=ask_nothing_yet)
            for path in (*_MOST_ASKED, "/v1/{path:.*}", *_apis.TOP_LEVEL)
        ),
    ]


async def list_models(request: web.Request) -> web.Response:
    """List every configured model, asleep or not, its aliases and adapters. Any of these names that who asks may use answers a request."""
    may_use = caller_of(request).may_use
    cards = (card for card in _names.cards(request.app[DRIVER].served.values()) if may_use(card.name))
    return web.json_response(_routing.models_body(cards, request.app[STARTED]))


async def show_model(request: web.Request) -> web.Response:
    """Show one name that clients may ask for."""
    name = request.match_info["name"]
    caller_of(request).check_model(name)
    card = _names.card_of(request.app[DRIVER].served, name)
    return web.json_response(_routing.model_body(card, request.app[STARTED]))


async def forward(request: web.Request) -> web.StreamResponse:
    """Pass one request on to the engine of the model it names.

    A cancelled handler (the client has gone) closes the connection to the engine, which cancels the request there.
    """
    app, path = request.app, request.path
    driver = app[DRIVER]
    journey = begin(request, driver.bus)
    _trace_context.begin(request, journey)
    _apis.check(path)
    homes, caller = app[HOMES], caller_of(request)
    body = await _body_of(request)
    content_type, model = request.headers.get("Content-Type", ""), _in_query(request)
    long = len(body) > _PARSED_AT_ONCE
    read = partial(_errands.read, path, content_type, body, named_in_query=model is not None)
    said = await asyncio.to_thread(read) if long else read()
    target = request.rel_url.raw_path_qs
    call = Call(request.method, path, target, model, content_type, body, said, owner_of(request))
    to = _addressee(driver.served, homes, call, caller)
    journey.asks(to.target.model.name)
    _request_log.note_model(request, to.target.asked)
    write = partial(_errands.errand, call, to, homes)
    errand = await asyncio.to_thread(write) if long else write()
    if _realtime.is_asked(request):
        return await _realtime.converse(request, errand, to)
    return await _answer(request, errand, to, caller)


async def _body_of(request: web.Request) -> bytes:
    """Return a request's body; at once where all of it is there, which most are."""
    if not request.content.is_eof():
        return await request.read()
    body = request.content.read_nowait()
    if len(body) > request.client_max_size:
        raise web.HTTPRequestEntityTooLarge(request.client_max_size)
    return body


def _in_query(request: web.Request) -> str | None:
    if not request.query_string:
        return None
    names = request.query.getall("model", [])
    if len(names) > 1:  # engines differ in which they take
        raise RequestInvalid('the query has more than one "model"', "model")
    if "" in names:
        raise RequestInvalid('"model" in the query is empty', "model", hint="GET /v1/models lists the names")
    return names[0] if names else None


def _addressee(models: Mapping[str, Model], homes: Homes, call: Call, caller: Caller) -> Addressee:
    """Return whom a call is for, if who asks may ask it: nobody learns which models there are that they may not use."""
    try:
        to = _errands.addressee(models, homes, call)
    except UnknownModel as error:
        caller.check_model(error.model)
        raise
    caller.check_model(to.target.asked)
    return to


async def _answer(request: web.Request, errand: Errand, to: Addressee, caller: Caller) -> web.StreamResponse:
    """Ask until there is an answer: an engine that was put to sleep meanwhile, or failed, is asked again or replaced.

    Whose engine failed has its old place in the queue again; whom the end of a drain cut off goes behind those that it
    kept waiting. Raises ModelUnavailable where drains have ended too often before the answer began.
    """
    app, target, journey = request.app, to.target, journey_of(request)
    driver, adapters, name = app[DRIVER], app[ADAPTERS], target.model.name
    place: Place | None = None
    tries_left = _TRIES
    while True:
        admitting = driver.admit(name, place, journey.caller, replica=to.replica, priority=caller.priority)
        async with admitting as admission:
            journey.admitted(admission)
            suspect = partial(driver.suspect, admission)
            adapter = adapters.hold(target.model, target.served, admission)
            relay = Relay(request, errand, target.model, admission, suspect)
            outcome = await relay.run(adapter)
        if not isinstance(outcome, Unanswered):
            await relay.part()
            return outcome
        tries_left -= 1
        if not tries_left:
            return _given_up(request.path, target.asked, outcome)
        log.info("%s %s: asked again: %s", request.method, request.path, outcome.why.message)
        journey.asks(name, outcome.why.code)
        place = admission.place if outcome.engine_failed else admission.place.behind(time.monotonic())


def _given_up(path: str, name: str, outcome: Unanswered) -> web.Response:
    if not outcome.engine_failed:
        raise ModelUnavailable(name, outcome.why)
    body = _api_errors.body(path, HTTPStatus.BAD_GATEWAY, outcome.why, "server_error")
    response = web.json_response(body, status=HTTPStatus.BAD_GATEWAY)
    response[PROBLEM] = outcome.why
    return response
