"""The commands that ask a running llmux, before a real one; as processes where a signal or a terminal matters."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess  # noqa: TID251 - the command line is tested as a process
import sys
from contextlib import suppress

import pytest
from click.testing import CliRunner

from llmux.server import _app, gpus
from llmux.server._cli_status import status_command
from llmux.server._cli_switch import sleep_command, wake_command
from llmux.server._model import Eviction, Process, Weights
from llmux.server.gpus import GPUS
from llmux.server.gpus._devices import Xid

COMMANDS = {"status": status_command, "sleep": sleep_command, "wake": wake_command}
LLMUX = [sys.executable, "-m", "llmux.server"]


@pytest.fixture
def hands(make_hands):
    return make_hands()


@pytest.fixture
async def url(serve, make_driver, make_hands, hands):
    return str(await serve(_app.build(make_driver({"m": hands, "other": make_hands()}))))


async def llmux(name, *argv, url):
    """Run a command to its end, in a thread with a loop of its own."""
    env = {"LLMUX_HOST": url, "LLMUX_TOKEN": None}
    return await asyncio.to_thread(CliRunner().invoke, COMMANDS[name], argv, env=env)


async def test_the_gpus_are_told_below_the_table(serve, make_driver, make_hands, machine):
    machine.say(f"process 0 {os.getpid()} {5 << 30}", f"process 0 {os.getppid()} {1 << 30}", "lost 1")
    app = _app.build(make_driver({"m": make_hands()}))
    gpus.attach(app, (0, 1))
    url = str(await serve(app))
    await llmux("wake", "m", url=url)
    app[_app.DRIVER].models["m"].replicas[0].life.init_pid = os.getpid()
    told = (await llmux("status", url=url)).stdout
    assert "GPU 0: 1 GiB of 80 GiB used; m 5 GiB, others 1 GiB" in told
    assert "GPU 1: NVML does not tell" in told
    app[GPUS].take(Xid(1, 79))
    told = (await llmux("status", url=url)).stdout
    assert "GPU 1 is lost: Xid 79 (the GPU has fallen off the bus)" in " ".join(told.split())


async def test_a_model_sleeps_and_wakes_and_the_table_tells_of_it(url, hands):
    woken = await llmux("wake", "m", url=url)
    assert (woken.exit_code, woken.stderr) == (0, "")
    assert woken.stdout.startswith("m: awake after 0.")
    assert "(started cold: it had not been started before)" in woken.stdout

    slept = await llmux("sleep", "m", "--host", url, url="127.0.0.1:9")
    assert slept.stdout.startswith("m: asleep after 0.")
    assert "(weights dropped, process on disk); checkpoint 1 of 7 bytes in /images" in slept.stdout

    table = (await llmux("status", url=url)).stdout.splitlines()
    titles = "model,state,for,being answered,waiting,sleeps with,last wake,checkpoint,problem"
    assert re.split(r" {2,}", table[0].rstrip()) == titles.split(",")
    assert table[1].split()[:2] == ["m", "asleep"]
    assert "weights dropped, process on disk" in table[1]
    assert re.search(r"started cold in 0\.\d+ s: it had not been started before", table[1])
    assert re.search(r"7 bytes, \d+ \w+ old", table[1])
    assert table[2].split()[:3] == ["other", "not", "started"]
    assert table[-1].startswith("the policy fifo decides who is awake")


async def test_how_deep_is_said_in_part_or_whole(url, hands):
    await llmux("wake", "m", url=url)
    done = await llmux("sleep", "m", "--weights", "offload", "--process", "keep_running", "--json", url=url)
    assert json.loads(done.stdout)["eviction"] == {"weights": "offload", "process": "keep_running"}
    assert hands.lives[0].asleep
    assert Eviction(Weights.OFFLOAD, Process.KEEP_RUNNING) != hands.eviction


async def test_json_is_llmuxs_answer_as_it_is(url):
    status = json.loads((await llmux("status", "--json", url=url)).stdout)
    assert status["models"]["m"]["state"] == "not_started"


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("wake", "nobody"), 1, "the model 'nobody' does not exist"),
        (("sleep", "m"), 1, "not_started cannot"),
        (("sleep", "m", "--process", "cuda_suspend"), 1, "no driver"),
        (("sleep", "m", "--process", "nap"), 2, "'nap' is not one of"),
        (("sleep",), 2, "Missing argument 'MODEL'"),
        (("status", "--host", "ftp://x"), 2, "ftp is not http"),
        (("status", "--host", "127.0.0.1:9"), 3, "llmux does not answer at http://127.0.0.1:9"),
    ],
)
async def test_what_fails_says_why_and_has_its_exit_code(url, argv, code, said):
    done = await llmux(*argv, url=url)
    assert done.exit_code == code, done.stderr
    assert said in done.stderr
    assert done.exception is None or isinstance(done.exception, SystemExit)


async def test_a_wake_that_fails_is_told(url, hands):
    hands.broken.add("cold_start")
    done = await llmux("wake", "m", url=url)
    assert done.exit_code == 1
    assert "cold_start is broken" in done.stderr


async def test_watching_as_json_is_a_line_each_time_until_it_is_interrupted(url):
    argv = [*LLMUX, "status", "--watch", "--interval", "0.1", "--json", "--host", url]

    def watch():
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            lines = [json.loads(process.stdout.readline()) for _ in range(3)]
            process.send_signal(signal.SIGINT)
            return lines, process.wait(60)

    lines, code = await asyncio.to_thread(watch)
    assert [set(line["models"]) for line in lines] == [{"m", "other"}] * 3
    assert code == 130


async def test_watching_into_a_pipe_is_a_table_each_time(url):
    argv = [*LLMUX, "status", "--watch", "--interval", "0.1", "--host", url]

    def watch():
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            seen = 0
            while seen < 3:
                seen += process.stdout.readline().startswith("the policy ")
            process.send_signal(signal.SIGINT)
            return process.wait(60)

    assert await asyncio.to_thread(watch) == 130


async def test_on_a_terminal_the_wait_is_told(url, hands):
    gate = hands.gates["cold_start"] = asyncio.Event()
    master, terminal = pty.openpty()
    process = await asyncio.to_thread(
        subprocess.Popen, [*LLMUX, "wake", "m", "--host", url], stdout=subprocess.PIPE, stderr=terminal
    )
    os.close(terminal)
    seen = b""

    def look():
        with suppress(OSError):
            return os.read(master, 4096)
        return b""

    while b"m: starting" not in seen:
        seen += (chunk := await asyncio.to_thread(look))
        assert chunk, seen
    gate.set()
    told, _ = await asyncio.to_thread(process.communicate)
    os.close(master)
    assert process.returncode == 0
    assert told.startswith(b"m: awake after ")
