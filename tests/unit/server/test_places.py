"""Places among the awake models: who gets one, who sleeps for it, who waits."""

from __future__ import annotations

import asyncio

import pytest

from llmux.server._model import NotStarted, Running, Starting
from llmux.server._places import NoPlaceError, Places
from llmux.server._record import Model
from llmux.server.errors import Problem

soon = asyncio.ensure_future  # noqa: TID251 - a test's waiters are tasks of its own


@pytest.fixture
def models(make_hands):
    return {name: Model(name, make_hands(), NotStarted(since=0)) for name in ("a", "b", "c")}


@pytest.fixture
def places(models):
    """Give places for one, whose holder sleeps when asked."""
    made = Places(models, 1, lambda model: falls_asleep(made, model))
    return made


async def falls_asleep(places, model):
    model.has_place = False
    places.tell_change()


async def stays_awake(_model):
    return Problem("stubborn", "it does not sleep")


async def test_a_free_place_is_taken_at_once_and_kept(places, models):
    await places.enter(models["a"])
    await places.enter(models["a"])
    assert models["a"].has_place


async def test_a_running_holder_sleeps_for_the_next(places, models):
    await places.enter(models["a"])
    models["a"].state = Running(since=0)
    await places.enter(models["b"])
    assert (models["a"].has_place, models["b"].has_place) == (False, True)


async def test_who_came_first_enters_first(places, models):
    await places.enter(models["a"])
    models["a"].state = Starting(since=0, why="")
    waiting = {name: soon(places.enter(models[name])) for name in ("b", "c")}
    await asyncio.sleep(0)
    assert not any(waiter.done() for waiter in waiting.values())
    await falls_asleep(places, models["a"])
    await waiting["b"]
    assert not waiting["c"].done()
    await falls_asleep(places, models["b"])
    await waiting["c"]


async def test_who_leaves_the_queue_holds_nobody_up(places, models):
    await places.enter(models["a"])
    models["a"].state = Starting(since=0, why="")
    first, second = (soon(places.enter(models[name])) for name in ("b", "c"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    await falls_asleep(places, models["a"])
    await second
    assert models["c"].has_place


async def test_where_nobody_sleeps_there_is_no_place(models):
    places = Places(models, 1, stays_awake)
    await places.enter(models["a"])
    models["a"].state = Running(since=0)
    with pytest.raises(NoPlaceError) as full:
        await places.enter(models["b"])
    assert full.value.problem().message == "no place for b: a could not be put to sleep"
