"""NVML, NVIDIA's library that tells of GPUs: held for as long as it is asked, and asked by threads that nobody has to wait for.

The driver behind it may hang: no call of it may hold up the event loop, nor the end of llmux.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import pynvml

from llmux.server._effect_errors import TookTooLong

_Result = TypeVar("_Result")

GONE = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)
"""What NVML says of a GPU that is there, and cannot be used by anybody."""


@contextmanager
def opened() -> Iterator[str]:
    """Hold NVML; give why there is none, or nothing. While somebody holds it, others have it at once."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        yield str(error)
        return
    try:
        yield ""
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


async def asked(ask: Callable[[], _Result], seconds: float) -> _Result:
    """Return what NVML says. Raises TookTooLong where it says nothing for so long, and what `ask` raises."""
    try:
        async with asyncio.timeout(seconds):
            return await in_daemon(ask)
    except TimeoutError as error:
        hint = "The driver hangs: see its messages (dmesg), and start the node again"
        raise TookTooLong("NVML", seconds, hint=hint) from error


def in_daemon(work: Callable[[], _Result]) -> asyncio.Future[_Result]:
    """Have it done in a thread; the future is of the running loop, and may be given up at any time."""
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
