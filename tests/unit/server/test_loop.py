"""The event loop's timers."""

from __future__ import annotations

import asyncio
import time


async def test_no_timer_is_early():
    loop = asyncio.get_running_loop()
    early = []
    for number in range(300):
        called = loop.create_future()
        at = time.monotonic() + number % 30 / 7000
        if number % 2:
            loop.call_at(at, called.set_result, None)
        else:
            loop.call_later(at - time.monotonic(), called.set_result, None)
        await called
        early.append(at - time.monotonic())
    assert max(early) <= 0


async def test_what_has_no_time_to_wait_waits_for_none():
    called = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0, called.set_result, None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert called.done()
