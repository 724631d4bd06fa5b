"""A stand-in for NVML in this process, and llmux before it."""

from __future__ import annotations

import asyncio

import pytest

from stand_in_driver import nvml


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Give a machine with two GPUs, as the stand-in for NVML tells of it."""
    said = nvml.StandInNvml(tmp_path / "nvml", gpus=2)
    monkeypatch.setenv(nvml.SAID, str(said.said))
    nvml.load(monkeypatch)
    return said


@pytest.fixture
def until():
    """Give a function that waits until something is so."""

    async def wait(condition, seconds=5):
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the driver has no event for every state
                await asyncio.sleep(0.005)

    return wait
