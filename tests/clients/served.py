"""A real llmux before two real tiny engines, as the tests of other people's clients ask it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess  # noqa: TID251 - llmux as its users start it
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from ports import free_port

from llmux.tiny_engine._train import CORPUS, train

NAME, ALIAS, OTHER = "lighthouse", "org/keeper", "other"
"""The first model, another name of it, and a model whose answers end after five tokens."""


@dataclass(frozen=True)
class Served:
    """A running llmux."""

    url: str
    engine_port: int

    def metric(self, name: str) -> int:
        """Return a figure of the first model's engine."""
        connection = HTTPConnection("127.0.0.1", self.engine_port, timeout=60)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return next(int(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))

    def running(self) -> int:
        """Return how many requests the first model's engine answers."""
        return self.metric("vllm:num_requests_running")

    def until_idle(self) -> None:
        """Wait until it answers none, or fail."""
        until(lambda: self.running() == 0, "the request has stopped")


def until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def configuration(place: Path, ports: list[int]) -> dict[str, object]:
    """Tokens take their time, so that a cancelled request can be seen to end."""
    common = {
        "model_path": str(place / "model"),
        "engine": "tiny",
        "eviction": {"process": "stop"},
        "extra_args": ["--token-delay", "0.002"],
    }
    return {
        "models": {
            NAME: {**common, "port": ports[0], "aliases": [ALIAS]},
            OTHER: {**common, "port": ports[1], "request_caps": {"max_tokens": 5}},
        },
        "default_model": NAME,
        "checkpoint": {"images_dir": str(place / "images")},
        "log_dir": str(place / "log"),
        "state_dir": str(place / "state"),
        "host": "127.0.0.1",
        "port": ports[2],
        "engines_at_exit": "stop",
    }


@contextmanager
def running(place: Path) -> Iterator[Served]:
    """Run one below `place` until the block ends."""
    train(place / "model", [CORPUS.read_text()[:3000]], 0, epochs=1)
    ports = [free_port() for _ in range(3)]
    (place / "config.json").write_text(json.dumps(configuration(place, ports)))
    command = [sys.executable, "-m", "llmux.server", "serve", "--config", str(place / "config.json")]
    with (place / "llmux.log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            until(lambda: process.poll() is not None or answers(ports[2]), "llmux listens", 100)
            assert process.poll() is None, (place / "llmux.log").read_text()
            yield Served(f"http://127.0.0.1:{ports[2]}", ports[0])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
