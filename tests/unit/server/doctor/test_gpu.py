"""What the doctor reads of GPUs, before the stand-in for NVML."""

from __future__ import annotations

import os

from llmux.server.doctor import _gpu
from llmux.server.doctor._facts import GpuUser


def process(proc, pid, parent, name, *argv):
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "stat").write_text(f"{pid} ({name} ) 1) S {parent} 1")
    (proc / str(pid) / "comm").write_text(f"{name}\n")
    (proc / str(pid) / "cmdline").write_text("".join(f"{each}\0" for each in argv))


def test_each_gpu_with_its_modes_and_the_processes_that_are_not_llmuxs(machine, tmp_path):
    proc = tmp_path / "proc"
    process(proc, 10, 1, "python3", "python3", "-c", "from llmux.server._init import main; main()")
    process(proc, 11, 10, "vllm", "vllm", "serve")
    process(proc, 20, 1, "trainer", "python", "train.py")
    machine.say("process 0 11 5", "process 0 20 7", "process 0 4711 -", "mig 0 1", "persistence 0 0")
    machine.say("driver 575.57")
    found = _gpu.look_at(None, None, proc)
    first, second = found.each
    assert (found.driver, found.cuda, found.none_because) == ("575.57", "13.0", "")
    assert first.users == (GpuUser(20, "trainer", 7), GpuUser(4711, "", None))
    assert (first.mig, first.mig_pending, first.persistence) == (True, True, False)
    assert (second.mig, second.persistence, second.users) == (None, True, ())


def test_one_that_is_lost_does_not_hide_the_others(machine):
    machine.say("lost 0", "no-processes 1")
    first, second = _gpu.look_at(None, None).each
    assert (first.problem, second.problem, second.users) == ("GPU is lost", "", None)


def test_without_a_driver_it_is_said_why(machine, monkeypatch):
    monkeypatch.setenv("LLMUX_STAND_IN_NVML", os.devnull + "-not")
    found = _gpu.look_at(None, None)
    assert (found.each, found.none_because) == ((), "Driver Not Loaded")
