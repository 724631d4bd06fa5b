"""What is seen of a process, and which record is not believed."""

from __future__ import annotations

import os
import shutil
import subprocess  # noqa: TID251 - a process to look at
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from llmux.server import _facts
from llmux.server._berth import Record, Task
from llmux.server._facts import Facts, Start, fault

INIT, ENGINE = Task(pid=40, start=1), Task(pid=1000, start=2)
RECORD = Record(
    name="m",
    instance="here:1",
    home="pid:[1]",
    command="sha256:0",
    port=8001,
    log="/m.log",
    init=INIT,
    pid_namespace="pid:[2]",
    mount_namespace="mnt:[3]",
    engine=ENGINE,
    doing="serving",
)
START = Start("sha256:0")
SEEN = Facts(INIT, "pid:[2]", "mnt:[3]", ENGINE, listens=True)


@pytest.mark.parametrize("doing", ["serving", "asleep"])
def test_what_is_as_the_record_says_has_no_fault(doing):
    assert not fault(RECORD.model_copy(update={"doing": doing}), SEEN, START)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ({"init": Task(pid=40, start=9)}, "its sandbox is another"),
        ({"init": None}, "its sandbox is another"),
        ({"pid_namespace": "pid:[9]"}, "its sandbox is another"),
        ({"mount_namespace": "mnt:[9]"}, "its sandbox is another"),
        ({"engine": Task(pid=1000, start=9)}, "its process is gone"),
        ({"engine": None}, "its process is gone"),
        ({"listens": None}, "nobody listens on its port 8001"),
        ({"listens": False}, "somebody else listens on its port 8001"),
    ],
)
def test_what_is_otherwise_is_named(seen, words):
    assert words in fault(RECORD, replace(SEEN, **seen), START)


def test_another_command_and_an_operation_under_way_are_named():
    assert "command" in fault(RECORD, SEEN, Start("sha256:1"))
    assert "in the middle" in fault(RECORD.model_copy(update={"doing": "busy"}), SEEN, START)


def test_one_on_other_gpus_is_taken_over_only_where_it_has_left_them():
    there = Start("sha256:0", "1")
    on_another = RECORD.model_copy(update={"visible": "0"})
    assert fault(on_another, SEEN, there) == "it is to have other GPUs: 1, and has 0"
    assert "other GPUs" in fault(RECORD, SEEN, there)
    assert not fault(on_another.model_copy(update={"doing": "suspended"}), SEEN, there)


def test_a_process_is_known_by_its_id_and_its_start_and_a_zombie_is_none():
    own = _facts.task(os.getpid())
    assert own is not None
    assert own == _facts.task(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        seen = _facts.task(child.pid)
        assert seen is not None
        assert seen.start >= own.start
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert _facts.task(child.pid) is None
    assert _facts.task(child.pid) is None


def test_a_process_that_ends_while_it_is_looked_at_has_no_descriptors(tmp_path, monkeypatch):
    for process in ("40", "41", "self"):
        fds = tmp_path / process / "fd"
        fds.mkdir(parents=True)
        (fds / "3").symlink_to(f"socket:[{process}]")
    look = Path.iterdir

    def ended(directory):
        if directory.parent.name == "40":
            shutil.rmtree(directory.parent)
        return look(directory)

    monkeypatch.setattr(Path, "iterdir", ended)
    assert list(_facts.descriptors(tmp_path)) == [(41, "socket:[41]")]
    assert not list(_facts.descriptors(tmp_path / "gone"))
