"""The bar: on a terminal, for what takes long; nothing elsewhere."""

from __future__ import annotations

import json
import os
import pty
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from llmux.criu_images import capture
from proof._commands import attempt

COMMAND = (sys.executable, "-m", "llmux.criu_images")


@pytest.fixture
def images(maker, tmp_path):
    """Give a captured dump with a sparse file of 100 MiB."""
    with (tmp_path / "[bold]big").open("wb") as big:
        big.truncate(100 << 20)
    directory = tmp_path / "images"
    directory.mkdir()
    maker.directory = directory
    maker.whole(maker.reg(3, str(tmp_path / "[bold]big"), size=100 << 20), fds={5: 3})
    capture(directory, container_started_ns=0)
    return directory


def on_a_terminal(*command: str | Path) -> tuple[str, str]:
    """Run a command whose stderr is a terminal; return its stdout and what the terminal got."""
    master, slave = pty.openpty()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(write, 1)
        os.dup2(slave, 2)
        os.execve(command[0], list(map(str, command)), os.environ | {"TERM": "xterm", "COLUMNS": "200"})
    os.close(slave)
    os.close(write)
    with os.fdopen(read) as output:
        shown = b""
        with suppress(OSError):  # the terminal's other end is closed
            while data := os.read(master, 65536):
                shown += data
        told = output.read()
    os.close(master)
    _, status = os.waitpid(child, 0)
    assert status == 0, shown
    return told, shown.decode()


def test_a_terminal_gets_a_bar_that_is_wiped_and_stdout_none_of_it(images):
    told, shown = on_a_terminal(*COMMAND, "verify", images)
    assert "checking copied files" in shown
    assert "MiB" in shown
    assert "\x1b[2K" in shown.rpartition("checking copied files")[2]
    assert told == attempt([*COMMAND, "verify", str(images)]).output


def test_nobody_else_gets_anything(images):
    done = attempt([*COMMAND, "verify", str(images)])
    assert (done.code, done.errors) == (0, "")


def test_what_is_quick_needs_no_bar(images, maker, tmp_path):
    (tmp_path / "[bold]big").write_bytes(b"now small")
    maker.whole(maker.reg(3, str(tmp_path / "[bold]big"), size=9), fds={5: 3})
    capture(images, container_started_ns=0)
    _, shown = on_a_terminal(*COMMAND, "verify", images)
    assert shown == ""


def test_a_program_gets_lines_on_the_descriptor_that_it_names(images):
    done = attempt([*COMMAND, "verify", "--status-fd", "2", str(images)])
    told = [json.loads(line) for line in done.errors.splitlines()]
    assert done.output == attempt([*COMMAND, "verify", str(images)]).output
    assert list(dict.fromkeys(each["phase"] for each in told)) == ["checking images", "checking copied files"]
    assert told[-1]["total_bytes"] >= 100 << 20
    for phase in ("checking images", "checking copied files"):
        last = [each for each in told if each["phase"] == phase][-1]
        assert (last["done_bytes"], last["done_files"]) == (last["total_bytes"], last["total_files"])


def test_a_descriptor_that_is_not_open_is_wrong_use(images):
    done = attempt([*COMMAND, "verify", "--status-fd", "987", str(images)])
    assert done.code == 2
    assert "987 is no open file descriptor" in done.errors
