# A process elsewhere has no event to await.
# ruff: noqa: ASYNC110

from __future__ import annotations

import ast
import asyncio
import errno
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from llmux.server._effect_errors import ProgramMissing, TookTooLong
from llmux.server._process import Conversation, run


async def test_code_and_output_are_kept_apart():
    done = await run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=60)
    assert (done.code, done.stdout, done.stderr) == (3, b"out\n", b"err\n")


async def test_a_signal_is_its_number_negated():
    assert (await run(["sh", "-c", "kill -9 $$"], timeout=60)).code == -signal.SIGKILL


async def test_stdin_is_empty_and_the_environment_as_given():
    done = await run(["/bin/sh", "-c", "cat; echo $A"], timeout=60, env={"A": "b", "PATH": os.defpath})
    assert done.stdout == b"b\n"


async def test_output_is_bounded():
    done = await run(
        ["sh", "-c", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"], timeout=60, output_limit=1000
    )
    assert (len(done.stdout), len(done.stderr)) == (1000, 1000)


async def test_lines_of_its_stderr_are_heard_as_they_come_and_kept():
    heard = []
    done = await run(
        ["sh", "-c", "printf 'a\\nb\\nrest' >&2; echo out"],
        timeout=60,
        on_error_line=heard.append,
    )
    assert (heard, done.stdout, done.stderr) == ([b"a", b"b"], b"out\n", b"a\nb\nrest")


@pytest.mark.parametrize("program", ["/no/such/program", "/etc/passwd"])
async def test_what_cannot_be_started_is_named(program):
    with pytest.raises(ProgramMissing, match=program):
        await run([program], timeout=60)


async def test_a_time_out_ends_the_program_and_what_it_started():
    began = time.monotonic()
    with pytest.raises(TookTooLong, match=r"sh did not finish within 0\.2 s"):
        await run(["sh", "-c", "sleep 60 & sleep 60"], timeout=0.2)
    assert time.monotonic() - began < 5  # the grandchild held the output open: only its end lets us go on


async def test_a_cancelled_caller_leaves_nothing_running(tmp_path):
    pid_file = tmp_path / "pid"
    running = asyncio.gather(run(["sh", "-c", f"echo $$ > {pid_file}; exec sleep 60"], timeout=60))
    while not (pid_file.exists() and pid_file.read_text()):
        await asyncio.sleep(0.01)
    pid = int(pid_file.read_text())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with asyncio.timeout(30):
        while _alive(pid):
            await asyncio.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_conversation_goes_by_whole_lines():
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    code = "import sys\nfor line in sys.stdin:\n sys.stdout.write(line.upper()); sys.stdout.flush()"
    conversation = await Conversation.start([sys.executable, "-c", code], on_line=heard.put_nowait)
    conversation.tell(b"one\ntwo")
    assert [await heard.get(), await heard.get()] == [b"ONE", b"TWO"]
    assert await conversation.end(10) == 0
    assert await conversation.end(10) == 0


HAS = "import os; print({fd: os.readlink(f'/proc/self/fd/{fd}').split(':')[0] for fd in range(256) if os.path.islink(f'/proc/self/fd/{fd}')}, flush=True)"
"""What a program has open, but for the directory that it looks in."""


async def test_programs_have_pipes_which_criu_dumps_and_nothing_else_of_llmuxs():
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    given, kept = os.pipe()
    os.set_inheritable(kept, True)
    argv = [
        sys.executable,
        "-c",
        f"import os; os.execv({sys.executable!r}, [{sys.executable!r}, '-c', {HAS!r}])",
    ]
    conversation = await Conversation.start(argv, on_line=heard.put_nowait, pass_fds=[given])
    has = ast.literal_eval((await heard.get()).decode())
    assert has.pop(2)
    assert has == {0: "pipe", 1: "pipe", given: "pipe"}
    assert await conversation.end(10) == 0
    done = await run(argv, timeout=60)
    assert ast.literal_eval(done.stdout.decode()) == {0: "/dev/null", 1: "pipe", 2: "pipe"}
    for fd in (given, kept):
        os.close(fd)


async def test_a_program_has_ended_though_what_it_has_left_goes_on_without_its_output():
    began = time.monotonic()
    await run(["sh", "-c", "sleep 3 >/dev/null 2>&1 </dev/null & exit 0"], timeout=60)
    assert time.monotonic() - began < 3


async def test_a_time_out_ends_what_a_program_has_left_with_its_output():
    began = time.monotonic()
    with pytest.raises(TookTooLong):
        await run(["sh", "-c", "sleep 60 & exit 0"], timeout=0.3)
    assert time.monotonic() - began < 4


async def test_a_program_that_cannot_be_watched_does_not_run(monkeypatch):
    def refused(pid):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refused)
    with pytest.raises(ProgramMissing, match="Too many open files"):
        await run(["sleep", "60"], timeout=60)
    assert "sleep\n" not in _names_of_children()


async def test_a_line_that_cannot_be_taken_stops_nobody(caplog):
    heard = []

    def take(line):
        heard.append(line)
        raise ValueError("not this")

    done = await run(
        ["sh", "-c", "printf 'a\\nb\\n' >&2; sleep 0.1; echo c >&2; exit 7"], timeout=60, on_error_line=take
    )
    assert (done.code, heard) == (7, [b"a", b"b", b"c"])
    assert "a line cannot be taken: b'a'" in caplog.text


async def test_who_is_cancelled_at_the_start_leaves_nothing_running():
    starting = asyncio.ensure_future(run(["sleep", "60"], timeout=60))  # noqa: TID251 - a test's
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await asyncio.sleep(0.2)
    assert "sleep\n" not in _names_of_children()


async def test_nothing_stays_open_of_a_conversation_that_cannot_begin():
    opened = []
    for _ in range(2):  # what the loop opens for the first process of all stays
        with pytest.raises(ProgramMissing):
            await Conversation.start(["/no/such/program"], on_line=print)
        await asyncio.sleep(0.1)
        opened.append(_open_files())
    assert opened[0] == opened[1]


def _names_of_children():
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {Path(f"/proc/{pid}/comm").read_text() for pid in children}


def _open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_conversation_with_the_deaf_is_ended():
    code = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    up = asyncio.Event()
    conversation = await Conversation.start([sys.executable, "-c", code], on_line=lambda _: up.set())
    await up.wait()
    assert await conversation.end(0.1) == -signal.SIGKILL
