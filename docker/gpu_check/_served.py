"""A real llmux before a real engine: asleep by cuda_suspend, awake by a request, again and again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpu_check import _nvml
from gpu_check._children import ROOT, CaseFailed, Child, child, output
from gpu_check._http import Server, free_port
from gpu_check._look import vllm_python
from gpu_check._results import Numbers, Round
from gpu_check._suspending import wait_for_freed
from gpu_check._task import Task
from gpu_check._tiny import MODEL, trained

_SUSPEND = {"weights": "retain", "process": "cuda_suspend"}
_VLLM_MODEL = "Qwen/Qwen3-0.6B"
_VLLM_TAKES = "0.2"
"""A part of the GPU; the host's memory has to take it in."""
_MOST_ROUNDS_OF_VLLM = 5
_START, _END = 900, 130.0
"""Seconds: for vLLM to compile what it compiles, and for llmux to end with its engine."""


@dataclass(frozen=True)
class Llmux:
    """A llmux that serves one model."""

    server: Server
    child: Child

    def sleep(self) -> None:
        self.server.ask("/control/sleep", {"model": MODEL})
        status = self._status()
        if (status["state"], status["eviction"]) != ("asleep", _SUSPEND):
            raise CaseFailed(f"it sleeps otherwise: {status['state']}, {status['eviction']}")

    def check_warm(self) -> None:
        wake = self._status()["last_wake"]
        if not isinstance(wake, dict) or wake["kind"] != "warm":
            raise CaseFailed(f"it was not resumed but started: {wake}")

    def _status(self) -> Mapping[str, object]:
        models = self.server.ask("/control/status")["models"]
        assert isinstance(models, dict)
        return dict(models[MODEL])


def tiny(task: Task) -> Numbers:
    """Serve the tiny engine. Raises CaseFailed."""
    model = {
        "model_path": str(trained(task.facts.programs.python, task.place)),
        "engine": "tiny",
        "extra_args": ["--device", "cuda", "--device-bytes", str(task.size)],
    }
    with _serving(task, model) as llmux:
        return _often(llmux, task.uuid, task.rounds)


def vllm(task: Task) -> Numbers:
    """Serve vLLM, with a model that is made here unless one is given. Raises CaseFailed."""
    home = task.place / "huggingface"
    environment = {"HF_HUB_OFFLINE": "1"}
    if not task.vllm_model:
        make = (vllm_python(), str(ROOT / "docker/vllm/make_model.py"), f"--hub-name={_VLLM_MODEL}")
        output(make, 600, HF_HOME=str(home))
        environment["HF_HOME"] = str(home)
    model = {
        "model_path": task.vllm_model or _VLLM_MODEL,
        "vllm_command": task.facts.programs.vllm,
        "extra_args": ["--max-model-len", "1024", "--gpu-memory-utilization", _VLLM_TAKES],
        "env": environment,
    }
    with _serving(task, model) as llmux:
        return _often(llmux, task.uuid, min(task.rounds, _MOST_ROUNDS_OF_VLLM))


def _often(llmux: Llmux, uuid: str, rounds: int) -> Numbers:
    """Have its model, which has not been started yet, sleep and wake."""
    empty = _nvml.used_on(uuid)
    wanted = llmux.server.chat(MODEL)
    if (size := _nvml.used_on(uuid) - empty) <= 0:
        raise llmux.child.fail("NVML sees nothing of the engine on the GPU")
    done: list[Round] = []
    held: list[int] = []
    for _ in range(rounds):
        before, began = _nvml.used_on(uuid), time.monotonic()
        llmux.sleep()
        asleep = time.monotonic()
        held.append(wait_for_freed(uuid, before, size))
        began_back = time.monotonic()
        found = llmux.server.chat(MODEL)
        done.append(Round(asleep - began, time.monotonic() - began_back))
        llmux.check_warm()
        if found != wanted:
            raise llmux.child.fail(f"it answers {found}, and {wanted} before")
    return Numbers(size, tuple(done), min(held))


@contextmanager
def _serving(task: Task, model: Mapping[str, object]) -> Iterator[Llmux]:
    place, server = task.place, Server(free_port())
    document = {
        "models": {MODEL: {**model, "port": free_port(), "eviction": _SUSPEND}},
        "checkpoint": {"images_dir": str(place / "images")},
        "log_dir": str(place / "log"),
        "state_dir": str(place / "state"),
        "host": "127.0.0.1",
        "port": server.port,
        "engines_at_exit": "stop",
        "engines_linger": 0,
        "startup_timeout_secs": _START,
    }
    config = place / "config.json"
    config.write_text(json.dumps(document))
    argv = (task.facts.programs.python, "-m", "llmux.server", "serve", "--config", str(config))
    with child(argv, place / "llmux.log", grace=_END) as started:
        try:
            started.until(lambda: server.answers("/control/status"), "llmux answers")
            yield Llmux(server, started)
        except CaseFailed as error:
            error.log = "\n".join([error.log or started.last_words(), *_engine_logs(place)])
            raise


def _engine_logs(place: Path) -> Iterator[str]:
    for path in sorted((place / "log").glob("*.log")):
        yield f"--- {path.name}"
        yield path.read_text("utf-8", "replace")[-2000:]
