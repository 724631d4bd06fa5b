"""The queue of a model: who is first, who is oldest."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmux.server._queue import Place, Queue, Ticket


@pytest.fixture
async def ticket():
    """Give a function that makes a ticket."""
    loop = asyncio.get_running_loop()
    return lambda since=0.0, priority=0: Ticket(Place(0.0, since), priority, loop.create_future())


async def test_first_in_is_first_out(ticket):
    queue = Queue()
    tickets = [ticket(float(n)) for n in range(4)]
    for each in tickets:
        queue.add(each)
    assert [queue.take() for _ in tickets] == tickets
    assert len(queue) == 0


async def test_a_higher_priority_goes_first_and_the_oldest_is_still_known(ticket):
    queue = Queue()
    old, urgent = ticket(1.0), ticket(2.0, priority=5)
    queue.add(old)
    queue.add(urgent)
    assert (queue.oldest, queue.priority) == (1.0, 5)
    assert queue.take() is urgent
    assert (queue.oldest, queue.priority) == (1.0, 0)


async def test_who_leaves_is_gone(ticket):
    queue = Queue()
    one, other = ticket(), ticket()
    queue.add(one)
    queue.add(other)
    queue.remove(one)
    assert one not in queue
    assert list(queue) == [other]


def test_an_empty_queue_has_no_oldest():
    assert Queue().oldest is None


@given(st.lists(st.integers(-3, 3)))
def test_within_a_priority_the_order_is_that_of_arrival(priorities):
    loop = asyncio.new_event_loop()
    try:
        queue = Queue()
        for priority in priorities:
            queue.add(Ticket(Place(0.0, 0.0), priority, loop.create_future()))
        taken = [queue.take() for _ in priorities]
        assert [(each.priority, each.number) for each in taken] == sorted(
            ((each.priority, each.number) for each in taken), key=lambda pair: (-pair[0], pair[1])
        )
    finally:
        loop.close()


async def test_one_that_comes_back_has_its_old_place(ticket):
    queue = Queue()
    first, second = ticket(1.0), ticket(2.0)
    queue.add(second)
    queue.add(ticket(1.0, priority=-1))
    queue.add(first)
    assert (queue.take(), queue.take()) == (first, second)


def test_who_goes_behind_keeps_its_time():
    assert Place(1.0, 1.0).behind(7.0) == Place(1.0, 7.0)
