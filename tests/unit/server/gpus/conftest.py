from __future__ import annotations

import asyncio

import pytest


@pytest.fixture
def until():
    """Give a function that waits until something is so."""

    async def wait(condition, seconds=5):
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - the driver has no event for every state
                await asyncio.sleep(0.005)

    return wait
