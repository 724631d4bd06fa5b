"""The scheduler: it asks the policy after every change and at the time it names, and comes to rest."""

from __future__ import annotations

import asyncio
import time

import pytest

from llmux.server._scheduler import Scheduler
from llmux.server.scheduling.snapshot import Decisions, Wake


class Asked:
    """A policy that gives what it is told, in turn, and then nothing; it counts how often it was asked."""

    def __init__(self, *decisions):
        self.left = list(decisions)
        self.count = 0

    def __call__(self, _snapshot):
        self.count += 1
        return self.left.pop(0) if self.left else Decisions()


class Done:
    """What the scheduler had done."""

    def __init__(self):
        self.acts = []
        self.refusals = []

    def act(self, action):
        self.acts.append(action)

    def refuse(self, model, why):
        self.refusals.append((model, why))


@pytest.fixture
async def make_scheduler():
    made = []

    def make(policy):
        done = Done()
        made.append(Scheduler({}, policy, {}, done.act, done.refuse))
        return made[-1], done

    yield make
    for each in made:
        each.close()


async def test_several_changes_at_once_are_one_look(make_scheduler):
    policy = Asked()
    scheduler, _ = make_scheduler(policy)
    for _ in range(5):
        scheduler.poke()
    await asyncio.sleep(0.01)
    assert policy.count == 1


async def test_it_acts_until_the_policy_wants_no_more(make_scheduler):
    one, other = Wake("a", "x"), Wake("b", "y")
    scheduler, done = make_scheduler(Asked(Decisions((one,)), Decisions((other,))))
    scheduler.poke()
    await asyncio.sleep(0.01)
    assert done.acts == [one, other]


async def test_it_looks_again_when_the_policy_said(make_scheduler):
    policy = Asked(Decisions(look_again_at=time.monotonic() + 0.02))
    scheduler, _ = make_scheduler(policy)
    scheduler.poke()
    await asyncio.sleep(0.01)
    assert policy.count == 1
    await asyncio.sleep(0.05)
    assert policy.count == 2


async def test_who_cannot_be_had_is_told(make_scheduler):
    scheduler, done = make_scheduler(Asked(Decisions(hopeless={"m": "too large"})))
    scheduler.poke()
    await asyncio.sleep(0.01)
    assert done.refusals == [("m", "too large")]


async def test_a_policy_that_contradicts_itself_is_stopped_and_told_of(make_scheduler, caplog):
    scheduler, done = make_scheduler(lambda _snapshot: Decisions((Wake("a", "again"),)))
    scheduler.poke()
    await asyncio.sleep(0.01)
    assert len(done.acts) == 100
    assert "does not come to rest" in caplog.text


async def test_a_policy_that_fails_once_is_asked_again(make_scheduler):
    def failing(_snapshot):
        raise ZeroDivisionError

    loop = asyncio.get_running_loop()
    told = []
    loop.set_exception_handler(lambda _loop, context: told.append(context))
    scheduler, _ = make_scheduler(failing)
    for _ in range(2):
        scheduler.poke()
        await asyncio.sleep(0.01)
    assert len(told) == 2


async def test_once_closed_it_decides_nothing(make_scheduler):
    policy = Asked()
    scheduler, _ = make_scheduler(policy)
    scheduler.poke()
    scheduler.close()
    scheduler.poke()
    await asyncio.sleep(0.01)
    assert policy.count == 0
