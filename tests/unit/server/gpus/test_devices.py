"""NVML's answers as values, of the stand-in."""

from __future__ import annotations

import os

import pynvml
import pytest

from llmux.server._nvml import opened
from llmux.server.gpus import _devices
from llmux.server.gpus._devices import Events, Xid
from llmux.server.gpus._seen import User
from stand_in_driver.nvml import GIB


def test_gpus_are_seen_with_their_memory_and_processes(machine):
    machine.say("process 1 4711 5")
    machine.say("process 1 4712 -")
    machine.say("no-processes 0")
    first, second = _devices.look({0, 1})
    assert (first.index, first.name, first.memory, first.used) == (0, "A stand-in", 80 * GIB, GIB)
    assert first.users is None
    assert second.users == (User(4711, 5), User(4712, None))
    assert second.uuid.startswith("GPU-00000001")


def test_one_that_is_lost_is_not_seen_and_says_why(machine):
    machine.say("lost 0")
    assert [each.index for each in _devices.look({0, 1})] == [1]
    with opened():
        assert (_devices.gone(0), _devices.gone(1)) == ("GPU is lost", "")


def test_without_a_driver_there_is_nothing_and_a_reason(machine, monkeypatch):
    monkeypatch.setenv("LLMUX_STAND_IN_NVML", os.devnull + "-not")
    assert _devices.look({0}) == ()
    with opened() as missing:
        assert missing == "Driver Not Loaded"


def test_without_the_library_too(monkeypatch):
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", missing_library)
    with opened() as missing:
        assert missing == "NVML Shared Library Not Found"


def missing_library(name):
    raise OSError(f"{name}: cannot open shared object file")


def test_errors_are_heard_in_their_order_and_of_their_gpu(machine):
    with opened():
        events = Events({0, 1})
        assert events
        assert events.wait(0.02) is None
        machine.say("xid 1 31")
        machine.say("xid 0 79")
        assert [events.wait(1), events.wait(1)] == [Xid(1, 31), Xid(0, 79)]
        events.close()


def test_a_driver_without_events_is_not_waited_for(machine):
    machine.say("no-events")
    with opened():
        events = Events({0, 1})
        assert not events
        events.close()


def test_to_wait_for_nothing_fails_as_an_error_of_ours(machine, monkeypatch):
    with opened():
        events = Events({0})
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(pynvml, "nvmlLib", object())
    with pytest.raises(OSError, match="Function Not Found"):
        events.wait(0.01)
