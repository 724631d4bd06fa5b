"""llama.cpp's command line, and its slots on disk around a stop."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from stand_ins import LlamaCpp

from llmux.server._effect_errors import EngineRefused
from llmux.server.config import ModelConfig
from llmux.server.engines import make, open_session


def engine(name="m", **fields):
    model = {"model_path": "/models/m.gguf", "port": 8001, "engine": "llama.cpp", **fields}
    return make(name, ModelConfig.model_validate(model), Path("/logs/m.log"))


def argv(**fields):
    return engine(**fields).command({}).argv


def saving_in(directory, *more):
    return ("--slot-save-path", str(directory), *more)


def test_its_line():
    line = " ".join(argv(extra_args=("--ctx-size", "4096")))
    assert (
        line == "llama-server --model /models/m.gguf --host 127.0.0.1 --port 8001 --alias m --ctx-size 4096"
    )


def test_another_program_can_be_named():
    assert argv(program=("/opt/llama/llama-server",))[:2] == ("/opt/llama/llama-server", "--model")


async def test_slots_that_hold_something_are_saved_at_a_stop_and_restored_at_the_next_start(serve, tmp_path):
    (model := tmp_path / "m.gguf").write_text("weights")
    (slots := tmp_path / "slots").mkdir()
    server = LlamaCpp(slots=[12, 0, 7], saved_in=slots)
    port = (await serve(server.app())).port
    one = engine(port=port, model_path=str(model), extra_args=saving_in(slots))
    async with open_session() as session:
        await one.put_by(session)
        assert len(list(slots.iterdir())) == 2
        server.slots = [0, 0, 0]
        await one.take_up(session)
    assert server.slots == [12, 0, 7]


@pytest.mark.parametrize("change", ["arguments", "weights", "name"])
async def test_slots_of_another_start_are_not_taken_up_and_go_with_the_next_stop(serve, tmp_path, change):
    (model := tmp_path / "m.gguf").write_text("weights")
    (slots := tmp_path / "slots").mkdir()
    server = LlamaCpp(slots=[12], saved_in=slots)
    port = (await serve(server.app())).port
    fields = {"model_path": str(model), "extra_args": saving_in(slots), "port": port}
    async with open_session() as session:
        await engine(**fields).put_by(session)
        (first,) = slots.iterdir()
        if change == "arguments":
            fields["extra_args"] += ("--ctx-size", "4096")
        if change == "weights":
            model.write_text("other weights")
        other = engine(name="m2" if change == "name" else "m", **fields)
        server.slots = [0]
        await other.take_up(session)
        assert server.slots == [0]
        server.slots = [5]
        await other.put_by(session)
    assert len(list(slots.iterdir())) == (2 if change == "name" else 1)
    assert first.exists() == (change == "name")


async def test_one_that_saves_no_slots_is_asked_nothing(serve):
    server = LlamaCpp(slots=[12])
    port = (await serve(server.app())).port
    async with open_session() as session:
        await engine(port=port).put_by(session)
        await engine(port=port).take_up(session)
    assert server.heard == []


async def test_a_server_that_tells_nonsense_of_its_slots_is_told(serve, tmp_path):
    app = web.Application()

    async def nonsense(_request):
        return web.Response(text="<html>")

    app.router.add_get("/slots", nonsense)
    port = (await serve(app)).port
    async with open_session() as session:
        with pytest.raises(EngineRefused, match="/slots answers 200: Invalid JSON"):
            await engine(port=port, extra_args=(f"--slot-save-path={tmp_path}",)).put_by(session)
