"""Any command's words and calls."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from stand_ins import StandIn

from llmux.server._effect_errors import EngineRefused
from llmux.server._model import Weights
from llmux.server.config import ModelConfig
from llmux.server.engines import make, open_session


def engine(port=8001, **fields):
    model = {
        "model_path": "/models/a b?.gguf",
        "port": port,
        "engine": "command",
        "command": ("serve",),
        **fields,
    }
    return make("m", ModelConfig.model_validate(model), Path("/logs/m.log"))


def test_what_stands_in_braces_is_filled_in_once_and_other_braces_stay():
    words = ("{name}={model_path}", '{"port":{port}}', "{weights}", "{}", "{names}")
    argv = engine(command=words, model_path="/models/{port}").command({}).argv
    assert argv == ("m=/models/{port}", '{"port":8001}', "{weights}", "{}", "{names}")


async def test_values_are_quoted_in_a_path_and_left_alone_in_a_body(serve):
    server = StandIn()
    app = server.app()

    async def fine(_request):
        return web.Response()

    app.router.add_route("*", "/{any:.*}", fine)
    call = {
        "path": "/load/{model_path}?how={weights}&keep=%7B",
        "method": "PUT",
        "body": {"all": [{"at": "{model_path}", "port": "{port}"}, 3, None, True]},
    }
    sleeper = engine((await serve(app)).port, calls={"sleep": call, "wake": {"path": "/rise"}})
    async with open_session() as session:
        await sleeper.sleep(session, Weights.OFFLOAD)
        await sleeper.wake(session, Weights.OFFLOAD)
    port = sleeper.url.port
    body = f'{{"all": [{{"at": "/models/a b?.gguf", "port": "{port}"}}, 3, null, true]}}'
    assert server.heard == [
        f"PUT /load/%2Fmodels%2Fa%20b%3F.gguf?how=offload&keep=%7B {body}",
        "POST /rise",
    ]


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_calls_that_are_configured_and_not_there_are_an_error(serve, status):
    app = web.Application()

    async def missing(_request):
        return web.Response(status=status)

    app.router.add_route("*", "/{any:.*}", missing)
    port = (await serve(app)).port
    told = engine(port, calls={"sleep": {"path": "/nap"}, "wake": {"path": "/rise"}})
    async with open_session() as session:
        with pytest.raises(EngineRefused, match=f"/nap answers {status}"):
            await told.sleep(session, Weights.DISCARD)
        await engine(port).sleep(session, Weights.DISCARD)  # vLLM's: it keeps its weights
