"""GPUs as gauges, before the stand-in for NVML."""

from __future__ import annotations

import os

import aiohttp

from llmux.server import _app, gpus
from llmux.server.gpus import GPUS
from llmux.server.gpus._devices import Xid
from llmux.server.metrics._catalogue import FAMILIES
from stand_in_driver.nvml import GIB


async def test_memory_of_gpus_and_replicas_and_what_is_lost(
    serve, make_driver, make_hands, machine, figures_of
):
    machine.say(f"process 0 {os.getpid()} {5 * GIB}", f"process 0 {os.getppid()} {GIB}", "no-processes 1")
    app = _app.build(make_driver({"m": make_hands()}))
    gpus.attach(app, (0, 1))
    base = await serve(app)
    driver = app[_app.DRIVER]
    await driver.wake("m")
    driver.models["m"].replicas[0].life.init_pid = os.getpid()
    app[GPUS].take(Xid(1, 48))
    async with aiohttp.ClientSession(base) as session, session.get("/metrics") as response:
        figures = figures_of(await response.text())
    assert figures.of("llmux_gpu_memory_bytes", gpu="1") == 80 * GIB
    assert figures.of("llmux_gpu_memory_used_bytes", gpu="0") == GIB
    assert figures.of("llmux_gpu_memory_of_others_bytes", gpu="0") == GIB
    assert not figures.having("llmux_gpu_memory_of_others_bytes", gpu="1")
    assert figures.of("llmux_replica_gpu_memory_bytes", model="m", replica="m", gpu="0") == 5 * GIB
    assert [figures.of("llmux_gpu_lost", gpu=each) for each in ("0", "1")] == [0, 1]
    labels = {family.name: set(family.labels) for family in FAMILIES}
    for sample in figures.samples:
        if "gpu" in sample.labels:
            assert set(sample.labels) == labels[sample.name]
