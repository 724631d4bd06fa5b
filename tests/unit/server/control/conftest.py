"""The control API of an llmux with models m and n, of which one at a time fits, whose engines are fakes."""

from __future__ import annotations

from types import SimpleNamespace

import aiohttp
import pytest

from llmux.server import _app


@pytest.fixture
async def house(serve, make_driver, make_hands):
    """Give the driver, each model's hands, and `call(method, path, body, **headers)` -> status, JSON, headers."""
    hands = {"m": make_hands(), "n": make_hands()}
    driver = make_driver(hands, 1)
    base = await serve(_app.build(driver))
    async with aiohttp.ClientSession(base) as session:

        async def call(method, path, body=None, **headers):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.request(method, path, json=body, headers=headers) as response:
                return SimpleNamespace(
                    status=response.status, json=await response.json(), headers=response.headers
                )

        yield SimpleNamespace(driver=driver, hands=hands, call=call, session=session, base=base)
