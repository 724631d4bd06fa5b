"""llmux is killed and started again, before real tiny engines in real sandboxes, as root: what it left is taken over, or ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess  # noqa: TID251 - llmux as a process of its own, to be killed
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from ports import free_port

from llmux.server import _berth
from llmux.server._criu import CriuSettings

pytestmark = pytest.mark.root

NAME = "lighthouse"
KEPT = {"weights": "discard", "process": "keep_running"}
ROOT = _berth.root_of(CriuSettings().run_dir)


@pytest.fixture(autouse=True)
def nothing_is_left(own_temporary: Path) -> Iterator[None]:
    """See that nothing is left but sockets of engines that were killed."""
    yield
    assert not ROOT.exists()
    assert all(path.is_socket() for path in own_temporary.iterdir())


class Llmux:
    """llmux as a process, on a configuration of its own."""

    def __init__(self, directory: Path, model: Path, **fields) -> None:
        self.port, self.engine_port = free_port(), free_port()
        self.document = {
            "models": {
                NAME: {
                    "model_path": str(model),
                    "port": self.engine_port,
                    "engine": "tiny",
                    "eviction": KEPT,
                }
            },
            "checkpoint": {"images_dir": str(directory / "images")},
            "log_dir": str(directory / "log"),
            "state_dir": str(directory / "state"),
            "host": "127.0.0.1",
            "port": self.port,
            **fields,
        }
        self.path = directory / "config.json"
        self.log = directory / "llmux.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.path.write_text(json.dumps(self.document))
        argv = [sys.executable, "-m", "llmux.server", "serve", "--config", str(self.path)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(argv, stderr=log)
        until(self.answers)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with suppress(OSError):
            return self.ask("/health")["status"] == "ok"
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(30) == 0

    def ask(self, path: str, body: object = None, port: int | None = None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{port or self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def chat(self) -> str:
        messages = [{"role": "user", "content": "The lamp?"}]
        body = {"model": NAME, "temperature": 0, "max_tokens": 24, "messages": messages}
        return self.ask("/v1/chat/completions", body)["choices"][0]["message"]["content"]

    def status(self):
        return self.ask("/control/status")["models"][NAME]

    def instance(self) -> str:
        return self.ask("/instance", port=self.engine_port)["instance_id"]


@contextmanager
def running(directory: Path, model: Path, **fields) -> Iterator[Llmux]:
    llmux = Llmux(directory, model, **fields)
    llmux.start()
    try:
        yield llmux
    finally:
        llmux.stop()


def until(true, seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "it never came true"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_an_engine_that_serves_is_adopted_and_ends_with_its_second_llmux(tmp_path, trained):
    with running(tmp_path, trained) as llmux:
        before, instance, init = llmux.chat(), llmux.instance(), llmux.status()["engine"]["init_pid"]
        llmux.kill()
        llmux.start()
        status = llmux.status()
        assert (status["state"], status["engine"]["init_pid"]) == ("running", init)
        assert llmux.chat() == before
        assert llmux.instance() == instance
        llmux.kill()
        llmux.start()
        assert llmux.status()["state"] == "running"
    assert not alive(init)


def test_an_engine_that_sleeps_in_memory_is_adopted_asleep_and_wakes_warm(tmp_path, trained):
    with running(tmp_path, trained) as llmux:
        before, instance = llmux.chat(), llmux.instance()
        llmux.ask("/control/sleep", {"model": NAME})
        llmux.kill()
        llmux.start()
        assert (llmux.status()["state"], llmux.status()["eviction"]) == ("asleep", KEPT)
        assert llmux.chat() == before
        assert (llmux.instance(), llmux.status()["last_wake"]["kind"]) == (instance, "warm")


def test_an_adopted_engine_that_ends_is_noticed_and_started_again(tmp_path, trained):
    with running(tmp_path, trained) as llmux:
        before = llmux.chat()
        llmux.kill()
        llmux.start()
        engine = llmux.status()["engine"]
        kill_inside(engine)
        until(lambda: llmux.status()["state"] == "failed")
        assert llmux.chat() == before


def kill_inside(engine) -> None:
    """Kill the engine by its id in its sandbox."""
    command = ["nsenter", f"--target={engine['init_pid']}", "--pid", "--mount", "kill", "-KILL"]
    subprocess.run([*command, str(engine["pid"])], check=True)


def test_one_that_ended_meanwhile_is_not_adopted(tmp_path, trained):
    with running(tmp_path, trained) as llmux:
        before, engine = llmux.chat(), llmux.status()["engine"]
        llmux.kill()
        kill_inside(engine)
        llmux.start()
        assert llmux.status()["state"] == "not_started"
        assert "its process is gone" in llmux.log.read_text()
        assert not alive(engine["init_pid"])
        assert llmux.chat() == before


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"engines_at_start": "end"}, "the configuration says so"),
        ({"extra_args": ["--token-delay", "0.001"]}, "its command has been changed"),
        ({"name": "another"}, "no model of this name is configured"),
    ],
)
def test_one_that_is_not_to_be_adopted_is_ended(tmp_path, trained, fields, words):
    with running(tmp_path, trained) as llmux:
        llmux.chat()
        init = llmux.status()["engine"]["init_pid"]
        llmux.kill()
        model = llmux.document["models"][NAME]
        if "extra_args" in fields:
            model |= fields
        elif "name" in fields:
            llmux.document["models"] = {"another": model}
        else:
            llmux.document |= fields
        llmux.start()
        assert words in llmux.log.read_text()
        assert not alive(init)


def test_a_stranger_on_the_port_is_named_and_never_taken_for_the_engine(tmp_path, trained):
    with running(tmp_path, trained) as llmux:
        llmux.chat()
        engine = llmux.status()["engine"]
        (record,) = ROOT.glob("*/record.json")
        llmux.kill()
        with socket.create_server(("127.0.0.1", 0)) as stranger:
            port = stranger.getsockname()[1]
            known = json.loads(record.read_text())
            record.write_text(json.dumps(known | {"port": port}))
            llmux.start()
        assert f"somebody else listens on its port {port}" in llmux.log.read_text()
        assert not alive(engine["init_pid"])


def test_an_engine_that_was_starting_is_ended(tmp_path, trained):
    with running(tmp_path, trained) as llmux:
        body = json.dumps({"model": NAME, "messages": []})
        url = f"http://127.0.0.1:{llmux.port}/v1/chat/completions"
        asking = subprocess.Popen(["curl", "-s", url, "-d", body], stdout=subprocess.DEVNULL)
        until(lambda: llmux.status()["state"] == "starting" and list(ROOT.glob("*/record.json")))
        llmux.kill()
        asking.wait()
        llmux.start()
        assert llmux.status()["state"] == "not_started"
        assert "the engine that an earlier llmux left is ended" in llmux.log.read_text()
        assert llmux.chat()


def test_nobody_comes_and_the_engine_ends_by_itself(tmp_path, trained):
    with running(tmp_path, trained, engines_linger=1) as llmux:
        llmux.chat()
        init = llmux.status()["engine"]["init_pid"]
        llmux.kill()
        time.sleep(0.3)
        assert alive(init)
        until(lambda: not alive(init), 10)
        llmux.start()
        assert llmux.status()["state"] == "not_started"


def test_two_of_one_machine_leave_each_others_engines_alone(tmp_path, trained):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with running(tmp_path / "one", trained) as one:
        one.chat()
        init = one.status()["engine"]["init_pid"]
        with running(tmp_path / "two", trained) as two:
            two.chat()
            one.kill()
            two.kill()
            two.start()
            assert two.status()["state"] == "running"
            assert two.status()["engine"]["init_pid"] != init
            assert alive(init)
        one.start()
        assert one.status()["engine"]["init_pid"] == init


def test_a_directory_of_somebody_elses_is_not_believed(tmp_path, trained):
    ROOT.mkdir(mode=0o700, parents=True)
    os.chown(ROOT, 65534, 65534)
    try:
        with running(tmp_path, trained) as llmux:
            llmux.chat()
            assert "belongs to user 65534" in llmux.log.read_text()
            init = llmux.status()["engine"]["init_pid"]
            llmux.kill()
            until(lambda: not alive(init), 5)
    finally:
        ROOT.rmdir()
