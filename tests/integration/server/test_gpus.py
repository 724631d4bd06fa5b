"""A real llmux with real tiny engines, and GPUs of the stand-in for NVML: who has what is told, and one that is lost takes its model along, and nobody else."""

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

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from ports import free_port

from stand_in_driver import nvml
from stand_in_driver.nvml import GIB, StandInNvml

pytestmark = [pytest.mark.root, pytest.mark.timeout(400)]

LLMUX = (sys.executable, "-m", "llmux.server")
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
XID_79 = "GPU 0 is lost: Xid 79 (the GPU has fallen off the bus)"


class Llmux:
    """llmux as a process on a machine of two GPUs, with a model on each."""

    def __init__(self, directory: Path, model: Path) -> None:
        self.port, self.log = free_port(), directory / "llmux.log"
        self.machine = StandInNvml(directory / "nvml", gpus=2)
        self.environ = {
            **os.environ,
            "LD_LIBRARY_PATH": str(nvml.directory()),
            nvml.SAID: str(self.machine.said),
        }
        self.config = directory / "config.json"
        document = {
            "models": {
                name: {
                    "model_path": str(model),
                    "port": free_port(),
                    "engine": "tiny",
                    "eviction": {"process": "stop"},
                    "resources": {"gpus": [gpu], "gpu_memory": 5 * GIB},
                }
                for gpu, name in enumerate(("lighthouse", "harbour"))
            },
            "checkpoint": {"images_dir": str(directory / "images")},
            "log_dir": str(directory / "log"),
            "state_dir": str(directory / "state"),
            "host": "127.0.0.1",
            "port": self.port,
            "engines_at_exit": "stop",
        }
        self.config.write_text(json.dumps(document))

    def start(self) -> None:
        with self.log.open("ab") as file:
            serve = (*LLMUX, "serve", "--config", str(self.config))
            self.process = subprocess.Popen(serve, stderr=file, env=self.environ)
        until(lambda: self.process.poll() is not None or b"serving" in self.log.read_bytes(), "llmux serves")
        assert self.process.poll() is None, self.log.read_text()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def run(self, *words: str) -> str:
        environ = {**self.environ, "LLMUX_HOST": f"127.0.0.1:{self.port}", "COLUMNS": "200"}
        done = subprocess.run((*LLMUX, *words), env=environ, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.stdout

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
            return response.read().decode()

    def status(self) -> dict:
        return json.loads(self.get("/control/status"))

    def chat(self, model: str) -> str:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": 4,
            "temperature": 0,
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=180) as response:
            return json.load(response)["choices"][0]["message"]["content"]

    def engine_of(self, model: str) -> int:
        """Return the id of a process below the model's sandbox's first, as llmux sees it."""
        init = self.status()["models"][model]["engine"]["init_pid"]
        return int(Path(f"/proc/{init}/task/{init}/children").read_text().split()[0])


def until(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.fixture
def llmux(tmp_path, trained) -> Iterator[Llmux]:
    llmux = Llmux(tmp_path, trained)
    llmux.start()
    try:
        yield llmux
        assert llmux.end() == 0
    finally:
        llmux.process.kill()
        llmux.process.wait()


def test_who_has_what_is_told_everywhere(llmux):
    for model in ("lighthouse", "harbour"):
        llmux.chat(model)
    llmux.machine.say(
        f"process 0 {llmux.engine_of('lighthouse')} {5 * GIB}",
        f"process 0 {os.getpid()} {GIB}",
        f"process 1 {llmux.engine_of('harbour')} {3 * GIB}",
    )
    until(lambda: llmux.status()["models"]["harbour"]["gpu_memory"] == {"1": 3 * GIB}, "NVML is asked again")
    told = llmux.status()
    assert told["models"]["lighthouse"]["gpu_memory"] == {"0": 5 * GIB}
    assert [each["others"] for each in told["node"]["gpus"]] == [GIB, 0]
    assert told["node"]["capacity"]["gpu_memory:0"] <= 80 * GIB
    assert "GPU 0: 1 GiB of 80 GiB used; lighthouse 5 GiB, others 1 GiB" in llmux.run("status")
    sample = 'llmux_replica_gpu_memory_bytes{gpu="1",model="harbour",replica="harbour"}'
    (value,) = (line.split()[-1] for line in llmux.get("/metrics").splitlines() if line.startswith(sample))
    assert float(value) == 3 * GIB
    found = {each["topic"]: each for each in json.loads(doctor(llmux))}
    assert "others have some of its memory" in found["gpu.0.users"]["seen"]
    assert str(os.getpid()) in found["gpu.0.users"]["seen"]
    assert found["gpu.1.users"]["verdict"] == "fine"


def doctor(llmux: Llmux) -> str:
    words = ("doctor", "--config", str(llmux.config), "--no-trial", "--speed-mib", "0", "--json")
    return llmux.run(*words)


def test_a_gpu_that_is_lost_takes_its_model_along_and_nobody_else(llmux):
    answers = {model: llmux.chat(model) for model in ("lighthouse", "harbour")}
    llmux.machine.say("xid 0 79", "lost 0")
    until(lambda: llmux.status()["models"]["lighthouse"]["state"] == "failed", "its model fails")
    problem = llmux.status()["models"]["lighthouse"]["problem"]
    assert (problem["code"], problem["message"]) == ("gpu_lost", XID_79)
    assert "nvidia-smi --gpu-reset -i 0" in problem["hint"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        llmux.chat("lighthouse")
    assert refused.value.code == 503
    assert json.load(refused.value)["error"]["code"] == "gpu_lost"
    assert llmux.chat("harbour") == answers["harbour"]
    assert XID_79 in llmux.run("status")
    assert 'llmux_gpu_lost{gpu="0"} 1.0' in llmux.get("/metrics")
    assert 'llmux_gpu_lost{gpu="1"} 0.0' in llmux.get("/metrics")
    llmux.machine.unsay("lost")
    until(lambda: llmux.status()["node"]["gpus"][0]["problem"] is None, "it is back")
    assert llmux.chat("lighthouse") == answers["lighthouse"]


def test_a_gpu_that_is_lost_when_llmux_starts_keeps_nobody_else_from_serving(llmux):
    assert llmux.end() == 0
    llmux.machine.say("lost 1")
    llmux.log.unlink()
    llmux.start()
    assert "GPU 1: GPU is lost" in llmux.log.read_text()
    assert llmux.chat("lighthouse")
    with pytest.raises(urllib.error.HTTPError) as refused:
        llmux.chat("harbour")
    assert json.load(refused.value)["error"]["code"] == "gpu_lost"
    assert llmux.status()["models"]["harbour"]["state"] == "failed"


def test_an_error_that_the_gpu_outlives_has_its_model_start_again(llmux):
    before = llmux.chat("lighthouse")
    llmux.machine.say("xid 0 94")
    until(lambda: llmux.status()["models"]["lighthouse"]["state"] == "failed", "its model fails")
    assert "Xid 94 (contained ECC error)" in llmux.status()["models"]["lighthouse"]["problem"]["message"]
    assert llmux.chat("lighthouse") == before
    assert "Xid 94" in llmux.status()["models"]["lighthouse"]["last_wake"]["reason"]


def test_a_driver_that_hangs_holds_up_neither_answers_nor_the_end(llmux):
    llmux.chat("harbour")
    llmux.machine.say("delay 30000")
    time.sleep(2.5)  # what was seen is old by now
    began = time.monotonic()
    told = llmux.status()
    llmux.chat("harbour")
    assert time.monotonic() - began < 10
    assert told["node"]["gpus"][0]["memory"] in {80 * GIB, None}
    began = time.monotonic()
    assert llmux.end() == 0
    assert time.monotonic() - began < 20


def test_the_page_shows_each_gpu_on_a_phone_and_in_the_dark(llmux, browser):
    llmux.chat("lighthouse")
    llmux.machine.say(
        f"process 0 {llmux.engine_of('lighthouse')} {5 * GIB}", f"process 0 {os.getpid()} {GIB}"
    )
    page = browser.new_page(color_scheme="dark", viewport={"width": 360, "height": 740})
    try:
        page.goto(f"http://127.0.0.1:{llmux.port}/ui/")
        first, second = page.locator("[data-gpu='0']"), page.locator("[data-gpu='1']")
        expect(first).to_contain_text("1 GiB of 80 GiB", timeout=60_000)
        expect(first).to_contain_text("lighthouse 5 GiB, others 1 GiB", timeout=60_000)
        expect(page.get_by_label("on GPU 1 now")).to_have_attribute("max", str(80 * GIB))
        llmux.machine.say("xid 1 48", "xid 0 31")
        expect(second.get_by_role("note")).to_contain_text("GPU 1 is lost: Xid 48", timeout=60_000)
        expect(first).to_contain_text("last error: Xid 31 (GPU memory page fault)", timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        found = Axe().run(page, options={"runOnly": WCAG})
        assert found.response["violations"] == []
    finally:
        page.close()
