"""Phases are told to whoever records, through threads and coroutines, and to nobody else."""

from __future__ import annotations

import asyncio

import pytest

from llmux.server._phases import phase, recorded, took


async def test_what_is_timed_in_calls_and_threads_comes_to_the_record():
    async def deep():
        with phase("restore"):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(took, "frozen", 2.0)

    with recorded() as phases:
        await deep()
        took("frozen", 1.0)
    assert phases["restore"] >= 0.01
    assert phases["frozen"] == 3.0
    assert set(phases.begun) == {"restore"}  # when the other began nobody knows
    assert 0 <= phases.begun["restore"] < 1


def test_a_step_that_fails_is_timed_too():
    with recorded() as phases, pytest.raises(ValueError, match="boom"), phase("health"):
        raise ValueError("boom")
    assert set(phases) == {"health"}


def test_whoever_records_is_told_what_begins_and_that_it_has_ended():
    told = []
    with recorded(told.append):
        with phase("restore"):
            took("frozen", 1.0)
        with pytest.raises(ValueError, match="boom"), phase("health"):
            raise ValueError("boom")
    assert told == ["restore", "", "health", ""]


async def test_a_phase_within_another_has_its_time_alone_and_the_other_goes_on():
    told = []
    with recorded(told.append) as phases, phase("dump"):
        with phase("cuda_suspend"):
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.01)
    assert told == ["dump", "cuda_suspend", "dump", ""]
    assert phases["cuda_suspend"] >= 0.05
    assert 0.01 <= phases["dump"] < 0.05
    came_back = phases.begun["cuda_suspend"] + phases["cuda_suspend"]
    assert phases.begun["dump"] == pytest.approx(came_back, abs=0.005)


async def test_records_do_not_mix():
    async def one(name):
        with recorded() as phases:
            with phase(name):
                await asyncio.sleep(0.001)
            return set(phases)

    assert await asyncio.gather(one("a"), one("b")) == [{"a"}, {"b"}]
    took("c", 1.0)  # nobody records
