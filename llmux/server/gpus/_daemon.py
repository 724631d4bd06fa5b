"""Work in a thread that nobody has to wait for: neither the event loop nor the end of llmux, where the driver hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

_Result = TypeVar("_Result")


def in_daemon(work: Callable[[], _Result]) -> asyncio.Future[_Result]:
    """Have it done; the future is of the running loop, and may be given up at any time."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()

    def settle(outcome: _Result | Exception) -> None:
        if future.done():
            return
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def do() -> None:
        try:
            outcome: _Result | Exception = work()
        except Exception as error:  # noqa: BLE001 - a thread's boundary: it is raised where it is waited for
            outcome = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=do, name="nvml", daemon=True).start()
    return future
