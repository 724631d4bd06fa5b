"""The OpenAI-compatible front: finds the model, brings it to serve, and passes bytes on, untouched, both ways."""

from __future__ import annotations

import asyncio
import io
import logging

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from llmux.server import _routing
from llmux.server._hands import Life
from llmux.server._web import DRIVER, STARTED
from llmux.server.errors import Problem, RequestInvalid

log = logging.getLogger(__name__)

_PARSED_AT_ONCE = 1 << 20
"""Bytes; parsing a longer body would keep other answers waiting for milliseconds."""


def routes() -> list[web.RouteDef]:
    """Return everything that is OpenAI's."""
    return [
        web.get("/v1/models", list_models),
        web.get("/v1/models/{name}", show_model),
        web.route("*", "/v1/{path:.*}", forward),
    ]


async def list_models(request: web.Request) -> web.Response:
    """List every configured model, asleep or not: any of them answers a request."""
    return web.json_response(_routing.models_body(request.app[DRIVER].models, request.app[STARTED]))


async def show_model(request: web.Request) -> web.Response:
    """Show one configured model."""
    model = request.app[DRIVER].find(request.match_info["name"])
    return web.json_response(_routing.model_body(model.name, request.app[STARTED]))


async def forward(request: web.Request) -> web.StreamResponse:
    """Pass one request on to the engine of the model it names.

    A cancelled handler (the client has gone) closes the connection to the engine, which cancels the request there.
    """
    _routing.check_path(request.path)
    body = await request.read()
    if len(body) < _PARSED_AT_ONCE:
        name = _model_of(request, body)
    else:
        name = await asyncio.to_thread(_model_of, request, body)
    async with request.app[DRIVER].admit(name) as admission:
        return await _pass_on(request, body, admission.life)


def _model_of(request: web.Request, body: bytes) -> str:
    """Return the model in the body, else in the query; a request that cannot have either goes to the only model."""
    if body:
        return _routing.model_in(request.headers.get("Content-Type", ""), body)
    if "model" in request.query:
        return request.query["model"]
    models = request.app[DRIVER].models
    if request.method in {"GET", "HEAD", "DELETE", "OPTIONS"} and len(models) == 1:
        return next(iter(models))
    raise RequestInvalid(
        "the request names no model", "model", hint='Send a JSON body with "model", or ?model=NAME'
    )


async def _pass_on(request: web.Request, body: bytes, life: Life) -> web.StreamResponse:
    if life.session.closed:
        return _gone("it has just ended")
    asked = life.session.request(
        request.method,
        URL(f"{life.url.origin()}{request.rel_url.raw_path_qs}", encoded=True),
        headers=CIMultiDict(_routing.request_headers(request.headers.items())),
        data=io.BytesIO(body) if body else None,
        allow_redirects=False,
    )
    try:
        answer = await asked
    except aiohttp.ClientError as error:
        return _gone(str(error))
    # Left by an exception or a cancellation, this closes the connection: that is how the engine learns of it.
    async with answer:
        return await _stream(request, answer)


def _gone(why: str) -> web.Response:
    hint = "Ask again: an engine that has ended is started again for the next request"
    problem = Problem("engine_gone", f"the engine did not answer: {why}", hint)
    return web.json_response(_routing.error_body(problem, "server_error"), status=502)


async def _stream(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = CIMultiDict(_routing.response_headers(answer.headers.items()))
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except aiohttp.ClientConnectionResetError:
        log.info("%s %s: the client has gone", request.method, request.path)
    except aiohttp.ClientError as error:
        _break_off(request, response, error)
    else:
        await response.write_eof()
    return response


def _break_off(request: web.Request, response: web.StreamResponse, error: aiohttp.ClientError) -> None:
    """End an answer that the engine did not finish so that the client can tell: without a proper end."""
    log.warning("%s %s: the engine broke off its answer: %s", request.method, request.path, error)
    response.force_close()
    if request.transport:
        request.transport.close()
