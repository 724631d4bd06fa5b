"""NVML is asked by threads that nobody waits for without an end."""

from __future__ import annotations

import threading

import pytest

from llmux.server._effect_errors import TookTooLong
from llmux.server._nvml import asked, in_daemon


async def test_what_it_says_is_returned_and_what_it_raises_is_raised():
    assert await asked(lambda: 7, 5) == 7

    def refuse():
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await asked(refuse, 5)


async def test_a_driver_that_hangs_is_waited_for_no_longer_than_is_said():
    awake = threading.Event()
    with pytest.raises(TookTooLong) as hung:
        await asked(awake.wait, 0.05)
    assert (hung.value.program, hung.value.seconds) == ("NVML", 0.05)
    assert "The driver hangs" in hung.value.hint
    awake.set()


async def test_what_comes_after_it_was_given_up_is_dropped():
    awake, done = threading.Event(), threading.Event()

    def late():
        awake.wait()
        done.set()

    future = in_daemon(late)
    future.cancel()
    awake.set()
    assert await in_daemon(lambda: done.wait(60))
