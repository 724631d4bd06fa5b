"""How everything is, and reading the configuration anew."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from llmux.server._web import ADAPTERS, DRIVER, RELOADER, error_response
from llmux.server.control._answers import ReloadTold, Status
from llmux.server.control._form import Call, answer
from llmux.server.control._told import model_told, node_told, reload_told
from llmux.server.control._told_gpus import seen, shares_of
from llmux.server.errors import ServerError


async def status(request: web.Request) -> web.Response:
    """Say how every model is, and the node."""
    driver, adapters = request.app[DRIVER], request.app[ADAPTERS]
    reloader = request.app.get(RELOADER)
    last = reloader.last if reloader else None
    gpus = await seen(request.app)
    shares = shares_of(gpus)
    return answer(
        Status(
            models={name: model_told(model, adapters, shares) for name, model in driver.models.items()},
            node=node_told(driver.node, driver.orders, gpus),
            reload=reload_told(last) if last else None,
        )
    )


async def reload(request: web.Request) -> web.Response:
    """Read the configuration anew. Answers with what that changes, or with everything that is wrong with it."""
    try:
        done = await request.app[RELOADER].reload()
    except ServerError as error:
        return error_response(error, HTTPStatus.BAD_REQUEST)
    return answer(reload_told(done))


STATUS = Call("GET", "/control/status", status, {HTTPStatus.OK: Status})
RELOAD = Call("POST", "/control/reload", reload, {HTTPStatus.OK: ReloadTold}, (HTTPStatus.BAD_REQUEST,))
