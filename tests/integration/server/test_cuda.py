"""A real llmux with a real tiny engine whose processes have CUDA state, of the stand-in for NVIDIA's driver: it leaves its GPUs and comes back.

NVIDIA's driver is stood in for twice: its library, which a GPU-less engine loads, and /proc/driver/nvidia/version, in a mount namespace of llmux's own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess  # noqa: TID251 - llmux as a process of its own
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from ports import free_port

from stand_in_driver import ENGINE, StandIn, nvml
from stand_in_driver.nvml import GIB

pytestmark = [pytest.mark.root, pytest.mark.timeout(400)]

NAME = "lighthouse"
ONE, OTHER = (f"8f4022bae0cb1298286e225c953a7fe{digit}" for digit in "01")
SUSPEND = {"weights": "retain", "process": "cuda_suspend"}
VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.0.0  a stand-in\n"
HIDE = 'mount --bind "$1" /proc/driver && shift && exec "$@"'


class Llmux:
    """llmux as a process, where /proc says that a driver is there."""

    def __init__(self, directory: Path, model: Path, driver: StandIn) -> None:
        self.port, self.log, self.driver = free_port(), directory / "llmux.log", driver
        path = [str(ENGINE), *filter(None, [os.environ.get("PYTHONPATH")])]
        document = {
            "models": {
                NAME: {
                    "model_path": str(model),
                    "port": free_port(),
                    "engine": "tiny",
                    "eviction": SUSPEND,
                    "env": {"PYTHONPATH": ":".join(path)},
                }
            },
            "checkpoint": {"images_dir": str(directory / "images")},
            "log_dir": str(directory / "log"),
            "state_dir": str(directory / "state"),
            "host": "127.0.0.1",
            "port": self.port,
            "engines_at_exit": "stop",
            "engines_linger": 300,
        }
        self.config = directory / "config.json"
        self.document = document
        self.proc = directory / "proc"
        self.proc.joinpath("nvidia").mkdir(parents=True)
        self.proc.joinpath("nvidia/version").write_text(VERSION)

    def start(self) -> None:
        self.config.write_text(json.dumps(self.document))
        serve = (sys.executable, "-m", "llmux.server", "serve", "--config", str(self.config))
        with self.log.open("ab") as file:
            begin = file.tell()
            argv = ("unshare", "--mount", "sh", "-c", HIDE, "sh", str(self.proc), *serve)
            self.process = subprocess.Popen(argv, stderr=file)
        while f"serving {NAME} on".encode() not in self.log.read_bytes()[begin:]:
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(60)

    def ask(self, path: str, body: object = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=180) as response:
            return json.load(response)

    def chat(self) -> str:
        body = {
            "model": NAME,
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": 8,
            "temperature": 0,
        }
        return self.ask("/v1/chat/completions", body)["choices"][0]["message"]["content"]

    def sleep(self) -> None:
        self.ask("/control/sleep", {"model": NAME})

    def status(self) -> dict:
        return self.ask("/control/status")["models"][NAME]

    def states(self) -> list[str]:
        return [path.read_text() for path in sorted(self.driver.directory.glob("*.state"))]

    def place(self, gpu: int) -> None:
        """Have the configuration give the model this GPU."""
        self.document["models"][NAME]["resources"] = {"gpus": [gpu]}

    def gpus(self) -> set[str]:
        return {path.read_text() for path in self.driver.directory.glob("*.gpu")}


@pytest.fixture
def llmux(tmp_path, trained, monkeypatch) -> Iterator[Llmux]:
    directory = tmp_path / "driver"
    directory.mkdir()
    llmux = Llmux(tmp_path, trained, StandIn(directory, monkeypatch.setenv))
    yield from running(llmux)


@pytest.fixture
def on_the_first_of_two(tmp_path, trained, monkeypatch) -> Iterator[Llmux]:
    """Give a real llmux on a machine with two GPUs."""
    directory = tmp_path / "driver"
    directory.mkdir()
    directory.joinpath("gpus").write_text(f"{ONE}\n{OTHER}\n")
    told = (f"gpu {index} GPU-{UUID(each)} {80 * GIB} 0\n" for index, each in enumerate((ONE, OTHER)))
    directory.joinpath("nvml").write_text("driver 580.65.06\ncuda 13000\n" + "".join(told))
    llmux = Llmux(tmp_path, trained, StandIn(directory, monkeypatch.setenv))
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{os.environ['LD_LIBRARY_PATH']}:{nvml.directory()}")
    monkeypatch.setenv(nvml.SAID, str(directory / "nvml"))
    llmux.place(0)
    yield from running(llmux)


def running(llmux: Llmux) -> Iterator[Llmux]:
    llmux.start()
    try:
        yield llmux
        llmux.end(signal.SIGTERM)
    finally:
        llmux.process.kill()
        llmux.process.wait()


def test_an_engine_leaves_its_gpus_and_answers_as_before(llmux):
    before = llmux.chat()
    assert set(llmux.states()) == {"running"}
    llmux.sleep()
    assert (llmux.status()["state"], llmux.status()["eviction"]) == ("asleep", SUSPEND)
    assert set(llmux.states()) == {"checkpointed"}
    assert llmux.chat() == before
    assert set(llmux.states()) == {"running"}
    assert llmux.status()["last_wake"]["kind"] == "warm"


def test_one_that_cannot_leave_serves_on_and_says_why(llmux):
    before = llmux.chat()
    *_, last = sorted(llmux.driver.directory.glob("*.state"))
    fault = last.with_suffix(".fail-checkpoint")
    fault.write_text("801")
    with pytest.raises(urllib.error.HTTPError) as refused:
        llmux.sleep()
    assert json.load(refused.value)["error"]["code"] == "cuda_not_supported"
    assert set(llmux.states()) == {"running"}
    assert llmux.status()["state"] == "running"
    assert llmux.chat() == before
    fault.unlink()
    llmux.sleep()
    assert set(llmux.states()) == {"checkpointed"}


def test_the_next_llmux_adopts_one_that_is_suspended(llmux):
    before = llmux.chat()
    llmux.sleep()
    llmux.end(signal.SIGKILL)
    llmux.start()
    assert (llmux.status()["state"], llmux.status()["eviction"]) == ("asleep", SUSPEND)
    assert llmux.chat() == before
    assert llmux.status()["last_wake"]["kind"] == "warm"


def test_the_next_llmux_brings_a_suspended_one_back_on_the_gpu_that_it_gives_it(on_the_first_of_two):
    llmux = on_the_first_of_two
    before = llmux.chat()
    llmux.sleep()
    assert llmux.gpus() == {ONE}
    for gpu, its_own in ((1, OTHER), (0, ONE)):
        llmux.end(signal.SIGKILL)
        llmux.place(gpu)
        llmux.start()
        assert (llmux.status()["state"], llmux.status()["eviction"]) == ("asleep", SUSPEND)
        assert llmux.chat() == before
        assert llmux.status()["last_wake"]["kind"] == "warm"
        assert llmux.gpus() == {its_own}
        llmux.sleep()
    assert llmux.chat() == before
    llmux.end(signal.SIGKILL)
    llmux.start()
    assert llmux.status()["state"] == "running"


def test_a_reload_brings_a_suspended_one_back_on_the_gpu_that_it_gives_it(on_the_first_of_two):
    llmux = on_the_first_of_two
    before = llmux.chat()
    llmux.sleep()
    llmux.place(1)
    llmux.config.write_text(json.dumps(llmux.document))
    assert llmux.ask("/control/reload", {})["engines_anew"] == []
    assert llmux.chat() == before
    assert (llmux.status()["last_wake"]["kind"], llmux.gpus()) == ("warm", {OTHER})
    llmux.end(signal.SIGKILL)
    llmux.start()
    assert llmux.status()["state"] == "running"


def test_the_next_llmux_ends_one_that_serves_on_a_gpu_that_it_does_not_give_it(on_the_first_of_two):
    llmux = on_the_first_of_two
    llmux.chat()
    llmux.end(signal.SIGKILL)
    llmux.place(1)
    llmux.start()
    assert llmux.status()["state"] == "not_started"
    assert "it is to have other GPUs: 1, and has 0" in llmux.log.read_text()


def test_one_whose_cuda_state_is_lost_is_started_again(llmux):
    before = llmux.chat()
    *_, last = sorted(llmux.driver.directory.glob("*.state"))
    fault = last.with_suffix(".fail-restore")
    llmux.sleep()
    fault.write_text("999 failed")
    assert llmux.chat() == before
    assert llmux.status()["last_wake"]["kind"] == "cold_start"
    assert (
        "CUresult 999" in llmux.status()["last_wake"]["reason"]
        or "UNKNOWN" in llmux.status()["last_wake"]["reason"]
    )
