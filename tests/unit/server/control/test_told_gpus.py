"""GPUs in the control API's answers, before the stand-in for NVML."""

from __future__ import annotations

import os

import aiohttp
import pytest

from llmux.server import _app, gpus
from llmux.server.gpus import GPUS
from llmux.server.gpus._devices import Xid
from stand_in_driver.nvml import GIB


@pytest.fixture
async def house(serve, make_driver, make_hands, machine):
    """Give the application and `get`, of two models, of which one runs, and is this very process."""
    app = _app.build(make_driver({"m": make_hands(), "n": make_hands()}))
    gpus.attach(app, (0, 1))
    base = await serve(app)
    driver = app[_app.DRIVER]
    await driver.wake("m")
    driver.models["m"].replicas[0].life.init_pid = os.getpid()
    async with aiohttp.ClientSession(base) as session:

        async def get(path):
            async with session.get(path) as response:
                assert response.status == 200
                return await response.json()

        yield app, get


async def test_each_gpu_and_what_each_model_has_there(house, machine):
    machine.say(f"process 0 {os.getpid()} {5 * GIB}", f"process 0 {os.getppid()} {GIB}")
    _, get = house
    told = await get("/control/status")
    first, second = told["node"]["gpus"]
    assert first == {
        "index": 0,
        "uuid": "GPU-00000000-0000",
        "name": "A stand-in",
        "memory": 80 * GIB,
        "used": GIB,
        "others": GIB,
        "last_error": None,
        "problem": None,
    }
    assert (second["index"], second["others"]) == (1, 0)
    assert told["node"]["gpus_at"]
    model = told["models"]["m"]
    assert model["gpu_memory"] == model["replicas"]["m"]["gpu_memory"] == {"0": 5 * GIB}
    assert told["models"]["n"]["gpu_memory"] is None
    assert (await get("/control/models/m"))["gpu_memory"] == {"0": 5 * GIB}
    assert [each["gpu_memory"] for each in (await get("/control/models"))["models"]] == [{"0": 5 * GIB}, None]


async def test_one_that_is_lost_says_by_which_error(house, machine):
    app, get = house
    machine.say("lost 1")
    app[GPUS].take(Xid(1, 79))
    lost = (await get("/control/status"))["node"]["gpus"][1]
    assert (lost["uuid"], lost["used"], lost["last_error"]["number"]) == (None, None, 79)
    assert lost["problem"]["message"] == "GPU 1 is lost: Xid 79 (the GPU has fallen off the bus)"


async def test_where_nvml_does_not_tell_a_models_memory_is_not_known(house, machine):
    machine.say("no-processes 0")
    _, get = house
    told = await get("/control/status")
    assert told["models"]["m"]["gpu_memory"] is None
    assert told["node"]["gpus"][0]["others"] is None


async def test_without_gpus_nothing_is_told(serve, make_driver, make_hands):
    app = _app.build(make_driver({"m": make_hands()}))
    gpus.attach(app, ())
    async with aiohttp.ClientSession(await serve(app)) as session, session.get("/control/status") as response:
        told = await response.json()
    assert (told["node"]["gpus"], told["node"]["gpus_at"]) == ([], None)
    assert told["models"]["m"]["gpu_memory"] is None
