"""When an answer's time is over: no first byte, a silence, a cut; and what is no silence."""

from __future__ import annotations

import asyncio
import time

import pytest

from llmux.server import _answer_time
from llmux.server._answer_time import AnswerTime, Deadlines
from llmux.server._model import CutInFlight
from llmux.server.errors import Problem

CUT = CutInFlight(Problem("drain_timeout", "it has to sleep"))


@pytest.fixture(autouse=True)
def second_look(monkeypatch):
    monkeypatch.setattr(_answer_time, "_SECOND_LOOK", 0.02)


def answer_time(seconds=60.0):
    """Give the time of an answer whose first byte has to come in `seconds`, and what cuts it off."""
    cut = asyncio.get_running_loop().create_future()
    return AnswerTime(cut, time.monotonic() + seconds, Deadlines()), cut


async def lasts(bound, *steps):
    """Take these steps, and then wait for the end."""
    with bound:
        for step in steps:
            step()
        await asyncio.sleep(5)


async def test_the_first_byte_has_to_come_in_time():
    bound, _ = answer_time(0.02)
    with pytest.raises(TimeoutError):
        await lasts(bound)


async def test_each_has_to_begin_by_its_own_deadline():
    deadlines, over = Deadlines(), []

    async def ask(seconds, answered=None):
        began = time.monotonic()
        try:
            cut = asyncio.get_running_loop().create_future()
            with AnswerTime(cut, began + seconds, deadlines) as bound:
                await asyncio.sleep(60 if answered is None else answered)
                bound.begun(None)
                await asyncio.sleep(1.2)
        except TimeoutError:
            over.append(seconds)
            assert time.monotonic() - began >= seconds

    slow, quick = (ask(0.2), ask(0.1), ask(0.02), ask(0.05)), (ask(1.0, 0.0), ask(60, 0.1))
    await asyncio.gather(*slow, *quick)
    assert sorted(over) == [0.02, 0.05, 0.1, 0.2]
    await ask(0.03)  # the timer runs again when there is somebody to wait for
    assert over[4:] == [0.03]


async def test_what_has_begun_takes_as_long_as_it_wants():
    bound, _ = answer_time(0.02)
    with bound:
        bound.begun(None)
        bound.listens()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("stall", [None, 60.0])
async def test_a_cut_ends_it_at_once(stall):
    bound, cut = answer_time()
    with pytest.raises(TimeoutError):
        await lasts(bound, lambda: bound.begun(stall), lambda: cut.set_result(CUT))


async def test_a_cut_ends_what_has_not_begun():
    bound, cut = answer_time()
    with pytest.raises(TimeoutError):
        await lasts(bound, lambda: cut.set_result(CUT))


async def test_what_is_cut_off_before_it_begins_does_not_begin():
    bound, cut = answer_time()
    with pytest.raises(TimeoutError):
        await lasts(bound, lambda: cut.set_result(CUT), lambda: bound.begun(60))


async def test_a_cut_that_comes_as_it_ends_is_too_late():
    bound, cut = answer_time()
    with bound:
        cut.set_result(CUT)
    await asyncio.sleep(0.01)


async def test_a_silence_ends_it_but_not_before_a_second_look():
    bound, _ = answer_time()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await lasts(bound, lambda: bound.begun(0.05), bound.listens)
    assert time.monotonic() - began >= 0.07


async def test_neither_a_slow_client_nor_one_pause_after_another_is_a_silence():
    bound, _ = answer_time()
    with bound:
        bound.begun(0.2)
        await asyncio.sleep(0.5)  # it is the client that takes nothing
        for _ in range(8):
            bound.listens()
            await asyncio.sleep(0.05)
            bound.heard()
