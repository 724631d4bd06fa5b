"""The thread that watches: what it tells, and that it ends."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest

from llmux.server.gpus import _watch
from llmux.server.gpus._devices import Xid
from llmux.server.gpus._watch import Back, Gone, Watch


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(_watch, "_TURN", 0.02)
    monkeypatch.setattr(_watch, "LOOK_EVERY", 0.02)


@contextmanager
def watching(indexes=(0, 1)):
    told = []
    watch = Watch(indexes, told.append)
    watch.start()
    try:
        yield told
    finally:
        assert watch.stop(5)


def until(condition):
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_an_error_is_told_once(machine):
    with watching() as told:
        machine.say("xid 1 48")
        until(lambda: told)
        time.sleep(0.1)
    assert told == [Xid(1, 48)]


@pytest.mark.parametrize("events", [True, False])
def test_a_gpu_that_is_gone_is_told_once_and_so_is_its_return(machine, events):
    if not events:
        machine.say("no-events")
    with watching() as told:
        machine.say("lost 1")
        until(lambda: told)
        time.sleep(0.1)
        assert told == [Gone(1, "GPU is lost")]
        machine.unsay("lost")
        until(lambda: len(told) == 2)
    assert told[1:] == [Back(1)]


def test_it_ends_where_there_is_no_driver(monkeypatch, tmp_path, machine, caplog):
    monkeypatch.setenv("LLMUX_STAND_IN_NVML", str(tmp_path / "none"))
    with watching() as told:
        until(lambda: caplog.messages)
    assert told == []
    assert caplog.messages == ["GPUs are not watched: Driver Not Loaded"]


def test_one_that_hangs_is_not_waited_for(machine):
    machine.say("delay 2000")
    watch = Watch((0,), lambda _: None)
    watch.start()
    began = time.monotonic()
    assert not watch.stop(0.05)
    assert time.monotonic() - began < 2
    machine.unsay("delay")
    assert watch.stop(20)
